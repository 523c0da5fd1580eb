#' Asks whether a model or a router serves
#'
#' For containers and supervisors: `Rscript -e 'rendezvous::rdv_health("HOST:PORT")'` ends with status 0 if it serves, 1
#' if it does not, with one line that says why, and 2 if it is called wrongly. So does any script at whose top level it is
#' called; elsewhere it raises an error.
#'
#' @param address `"host:port"`. Default: port `RENDEZVOUS_GRPC_PORT` of 127.0.0.1.
#' @param service Service asked about; empty: the server as a whole.
#' @param timeout How long to wait for the answer, connecting included: seconds, or text such as `"500ms"`.
#' @param ca,cert,cert_key,tls As in [rdv_client()], but only as they are given here: a model's own server speaks without TLS
#'   whatever its environment says.
#' @return `TRUE`, invisibly.
#' @section Errors:
#' `rendezvous_unavailable`: it does not serve, or did not say so in time.\cr
#' `rendezvous_invalid_request`: a malformed address or timeout.
#' @section Source: the gRPC health protocol, `grpc.health.v1.Health`.
#' @examples
#' \dontrun{
#' rdv_health("127.0.0.1:8001")
#' rdv_health("127.0.0.1:8001", service = "rendezvous.v1.Score", timeout = 5)
#' }
#' @export
rdv_health <- function(address = NULL, service = "", timeout = 1, ca = NULL, cert = NULL, cert_key = NULL, tls = NULL) {
  is_program <- sys.nframe() == 1L && !interactive()
  tryCatch(
    check_health(address, service, timeout, security_of(NULL, ca, cert, cert_key, tls, plain = TRUE)),
    rendezvous_error = function(cond) {
      if (!is_program) stop(cond)
      message(conditionMessage(cond))
      quit(save = "no", status = if (inherits(cond, "rendezvous_unavailable")) 1L else 2L)
    }
  )
  invisible(TRUE)
}

check_health <- function(address, service, timeout, security) {
  if (is.null(address)) {
    port <- from_environment(NULL, "RENDEZVOUS_GRPC_PORT")
    if (is.null(port)) refuse("no address: give rdv_health(\"HOST:PORT\"), or set RENDEZVOUS_GRPC_PORT")
    address <- paste0("127.0.0.1:", port)
  }
  check_address(address)
  seconds <- check_timeout(duration_s(timeout, "timeout"))
  if (!is.character(service) || length(service) != 1 || is.na(service)) refuse("`service` must be one text")
  status <- unwrap(health_status(address, service, seconds * 1000, security))
  if (status != "SERVING") stop(rdv_error("UNAVAILABLE", paste0(address, " is ", status), c(address = address)))
}
