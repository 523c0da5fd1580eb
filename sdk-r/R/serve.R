#' Serves a model until SIGTERM or an interrupt
#'
#' Reads the postbox of the endpoint and serves the gRPC service `rendezvous.v1.Score` with health and reflection;
#' registers model and replica. It waits for NATS and for the endpoint's streams as long as it takes, reconnects by
#' itself, and prints one line `ready: ...` on standard output once both doors are open. Its log goes to standard error:
#' as text, or, where `RENDEZVOUS_LOG_FORMAT` is `json`, one JSON object a line, the model's messages and warnings among
#' them. `RENDEZVOUS_LOG_LEVEL` is `debug`, `info`, `warning` or `error`.
#'
#' Waiting parcels are scored together as one table; where the model fails, the table is halved by requests until those
#' that fail stand alone. SIGTERM or SIGINT drains: nothing more is read, what waits goes back, what is being scored is
#' answered; a second signal ends the process at once.
#'
#' Library threads never touch R: health, progress signals and the reading go on while R computes. A score call that
#' takes longer than `scoring_limit` is interrupted as by Ctrl-C. Native code that never looks for interrupts cannot be
#' ended so; its parcels then go to another replica. One process serves one model: for more, start more processes.
#' Serve in the process that you started, not in a fork of it. While a model is served, `quit()` and `q()` raise an error:
#' the request fails, the process lives on.
#'
#' @param model An [rdv_model()], or a function of one table.
#' @param endpoint Endpoint that it belongs to. Default: `RENDEZVOUS_ENDPOINT`.
#' @param name Name of the model. Default: `RENDEZVOUS_MODEL`, else the model's own.
#' @param version Version of the model; its replicas share one consumer. Default: `RENDEZVOUS_VERSION`, else `"1"`.
#' @param nats Address of NATS, several separated by commas. Default: `RENDEZVOUS_NATS`, else
#'   `"nats://127.0.0.1:4222"`.
#' @param grpc_port Port of the service; 0 takes a free one. Default: `RENDEZVOUS_GRPC_PORT`, else 0.
#' @param grpc_host Address to listen on. Default: `RENDEZVOUS_GRPC_HOST`, else `"127.0.0.1"`.
#' @param postbox,grpc Whether to open this door.
#' @param ack_wait Silence after which a parcel goes to another replica: seconds, or text such as `"500ms"`; 0.1 s to
#'   1 h. Default: `RENDEZVOUS_ACK_WAIT`, else 1 s.
#' @param scoring_limit Time after which a score call is interrupted, likewise. Default: `RENDEZVOUS_SCORING_LIMIT`, else
#'   60 s.
#' @param credit Parcels taken ahead of scoring.
#' @param max_joined_rows Waiting parcels are scored together as one table of at most so many rows.
#' @param max_message_bytes Largest gRPC message.
#' @param queue_capacity Requests over gRPC that may wait; further ones are refused (OVERLOADED).
#' @param key The model's key (`rendezvous key add` makes it): user and password in NATS. Default: `RENDEZVOUS_KEY`, or
#'   the file that `RENDEZVOUS_KEY_FILE` names; else none. It is in no message and no line of the log.
#' @param ca PEM file of the authority that NATS's certificate is checked against. Default: `RENDEZVOUS_CA`.
#' @param cert,cert_key PEM files: this model's own certificate chain and its private key, for mutual TLS. Default:
#'   `RENDEZVOUS_CERT` and `RENDEZVOUS_CERT_KEY`. They are read again for each new connection.
#' @param tls Whether to use TLS: `TRUE` with the system's authorities, `FALSE` never. Default: `RENDEZVOUS_TLS`; in
#'   any case where `ca` or `cert` is given, and for addresses that begin with `tls://`.
#' @param insecure Whether the key may be sent to another machine without TLS. Default: `RENDEZVOUS_INSECURE`.
#' @param enricher Stage in which it adds columns to the requests before the models see them, as an enricher of the
#'   endpoint: `TRUE` or 1 for the first, 2, ...; 0 or `FALSE`: it is a model. Default: `RENDEZVOUS_ENRICHER`, else 0.
#' @section Keys: With a key the model does only what its key allows: the router makes its consumer, for which it waits,
#'   and configures `ack_wait`. While NATS refuses the key, the model says so in its log, answers gRPC but reports
#'   NOT_SERVING, and tries again: it goes on when the key is there.
#' @return Nothing; returns after the drain. In a script (not interactive) that could not drain in time, R ends with
#'   status 1.
#' @section Errors:
#' `rendezvous_invalid_request`: a malformed name, option or key; a key that would leave this machine without TLS.\cr
#' `rendezvous_unavailable`: the gRPC port is taken.\cr
#' Whatever `setup` raises.
#' @section Source: docs/protocol.md, sections "Models", "Deadlines", "Registration", "What a model may do", "Service".
#' @examples
#' \dontrun{
#' rdv_serve(function(df) data.frame(risk = df$duration_months / 72), endpoint = "credit", name = "rule")
#' }
#' @export
rdv_serve <- function(model, endpoint = NULL, name = NULL, version = NULL, nats = NULL, grpc_port = NULL,
                      grpc_host = NULL, postbox = TRUE, grpc = TRUE, ack_wait = NULL, scoring_limit = NULL,
                      credit = 4, max_joined_rows = 16384, max_message_bytes = 4 * 1024^2, queue_capacity = 1024,
                      key = NULL, ca = NULL, cert = NULL, cert_key = NULL, tls = NULL, insecure = NULL,
                      enricher = NULL) {
  model <- as_model(model)
  options <- serve_options(
    model, endpoint, name, version, nats, grpc_host, grpc_port, postbox, grpc, ack_wait, scoring_limit, credit,
    max_joined_rows, max_message_bytes, queue_capacity, key, ca, cert, cert_key, tls, insecure, enricher
  )
  check_not_forked()
  start_logging(options)
  on.exit(loaded$is_log_json <- FALSE)
  model$name <- options$name
  old <- options(warn = 1)
  on.exit(options(old), add = TRUE)
  if (!is.null(model$setup)) logged(model$setup())
  if (!is.null(model$close)) on.exit(model$close(), add = TRUE)
  info <- model_info(model, options$version, find = TRUE)
  is_drained <- unwrap(without_quit(serve_run(options, info, evaluator(model))))
  if (!is_drained && !interactive()) quit(save = "no", status = 1L)
  invisible(NULL)
}

# Evaluates with quit() and q() raising an error: a model that calls one, on whatever path of its packages, fails on its
# request and takes no others along.
without_quit <- function(expression) {
  own <- list(quit = base::quit, q = base::q)
  put <- function(functions) {
    for (name in names(functions)) {
      unlockBinding(name, baseenv())
      assign(name, functions[[name]], envir = baseenv())
      lockBinding(name, baseenv())
    }
  }
  refusal <- function(...) stop("the model called quit()", call. = FALSE)
  on.exit(put(own))
  put(list(quit = refusal, q = refusal))
  expression
}

loaded <- new.env(parent = emptyenv())

# Threads and connections do not survive a fork.
check_not_forked <- function() {
  if (identical(loaded$pid, Sys.getpid())) return(invisible())
  refuse(
    "this process (", Sys.getpid(), ") is a fork of the one that loaded the package (", loaded$pid,
    "): start R anew, for instance with Rscript or parallel::makePSOCKcluster()"
  )
}
