"""Whether an address may be listened on: what is reachable from elsewhere needs keys and TLS."""

from rendezvous_sdk.credentials import is_loopback

from rendezvous_router.tls.errors import TlsError

__all__ = ["check_exposure"]


def check_exposure(host: str, has_keys: bool, has_tls: bool, insecure: bool) -> None:
    """Returns if a server may listen on *host*.

    Args:
        host: address to listen on.
        has_keys: whether callers are asked for keys.
        has_tls: whether it serves TLS.
        insecure: whether somebody has said that it may go without.

    Raises:
        TlsError: others than this machine could reach it, without keys or without TLS.
    """
    if is_loopback(host) or insecure or (has_keys and has_tls):
        return
    lacks = [what for what, is_there in (("keys", has_keys), ("TLS", has_tls)) if not is_there]
    raise TlsError(
        f"listening on {host} without {' and '.join(lacks)} is refused: whoever reaches this machine could score, "
        "and read what is sent. Make certificates (`rendezvous certs`) and serve them with --cert and --cert-key, and "
        "ask for keys (`rendezvous key add`); or listen on 127.0.0.1; or, where the network lets nobody else in, "
        "say --insecure (RENDEZVOUS_INSECURE=1)"
    )
