# What a model program is not told in code it takes from the environment: argument > environment > default.

default_nats <- "nats://127.0.0.1:4222"

from_environment <- function(value, variable, default = NULL) {
  if (!is.null(value)) return(value)
  found <- Sys.getenv(variable, "")
  if (nzchar(found)) found else default
}

# Seconds of `500ms`, `1.5s`, `2m` or a number.
duration_s <- function(value, what) {
  if (is.numeric(value) && length(value) == 1 && !is.na(value)) return(as.numeric(value))
  parts <- regmatches(value, regexec("^\\s*([0-9]+(?:\\.[0-9]+)?)\\s*(ms|s|m)?\\s*$", value, perl = TRUE))[[1]]
  if (length(parts) == 0) refuse(what, " is '", value, "', which is no duration: write it as 500ms, 1.5s or 2m")
  unit <- switch(parts[3], ms = 0.001, m = 60, 1)
  as.numeric(parts[2]) * unit
}

whole_number <- function(value, what) {
  number <- suppressWarnings(as.numeric(value))
  if (length(number) != 1 || is.na(number) || number != floor(number)) {
    refuse(what, " is ", deparse(value, nlines = 1L), ": it must be a whole number")
  }
  number
}

check_range <- function(what, value, least, most) {
  if (!(value >= least && value <= most)) {
    refuse(what, " is ", format(value), "; allowed is ", format(least), " to ", format(most),
      attributes = c(option = what, actual = format(value), least = format(least), most = format(most))
    )
  }
  value
}

new_replica_name <- function() {
  host <- substr(gsub("[^A-Za-z0-9_-]", "-", Sys.info()[["nodename"]]), 1, 32)
  tail <- substr(make_id(), 33, 36)
  paste(host, Sys.getpid(), tail, sep = "-")
}

# All options of serving, checked; see rdv_serve().
serve_options <- function(model, endpoint, name, version, nats, grpc_host, grpc_port, postbox, grpc, ack_wait,
                          scoring_limit, credit, max_joined_rows, max_message_bytes, queue_capacity, key = NULL,
                          ca = NULL, cert = NULL, cert_key = NULL, tls = NULL, insecure = NULL, enricher = NULL) {
  endpoint <- from_environment(endpoint, "RENDEZVOUS_ENDPOINT")
  if (is.null(endpoint)) refuse("no endpoint: give rdv_serve(endpoint = ), or set RENDEZVOUS_ENDPOINT")
  port <- whole_number(from_environment(grpc_port, "RENDEZVOUS_GRPC_PORT", 0), "grpc port")
  wait <- duration_s(from_environment(ack_wait, "RENDEZVOUS_ACK_WAIT", 1), "ack wait")
  limit <- duration_s(from_environment(scoring_limit, "RENDEZVOUS_SCORING_LIMIT", 60), "scoring limit")
  stage <- whole_number(from_environment(enricher, "RENDEZVOUS_ENRICHER", 0), "enricher")
  if (!postbox && !grpc) refuse("neither the postbox nor gRPC is served: leave one of them on")
  security <- security_of(key, ca, cert, cert_key, tls)
  nats <- from_environment(nats, "RENDEZVOUS_NATS", default_nats)
  if (postbox) check_key_is_safe(security, plain_nats_hosts(nats, security), insecure)
  options <- list(
    endpoint = as.character(endpoint),
    name = as.character(from_environment(name, "RENDEZVOUS_MODEL", model$name)),
    version = as.character(from_environment(version, "RENDEZVOUS_VERSION", "1")),
    replica = new_replica_name(),
    nats = nats,
    security = security,
    grpc_host = from_environment(grpc_host, "RENDEZVOUS_GRPC_HOST", "127.0.0.1"),
    grpc_port = check_range("grpc port", port, 0, 65535),
    postbox = postbox, grpc = grpc,
    ack_wait_s = check_range("ack wait", wait, 0.1, 3600),
    scoring_limit_s = check_range("scoring limit", limit, 0.05, 86400),
    enricher = check_range("enricher", stage, 0, 9),
    credit = check_range("credit", whole_number(credit, "credit"), 1, 256),
    max_joined_rows = check_range("max joined rows", whole_number(max_joined_rows, "max joined rows"), 1, 1e7),
    max_message_bytes = check_range("max message bytes", whole_number(max_message_bytes, "max message bytes"), 1024, 512 * 1024^2),
    queue_capacity = check_range("queue capacity", whole_number(queue_capacity, "queue capacity"), 1, 1e6),
    log_level = from_environment(NULL, "RENDEZVOUS_LOG_LEVEL", "info"),
    log_format = from_environment(NULL, "RENDEZVOUS_LOG_FORMAT", "text")
  )
  unwrap(serve_check(options))
  options
}
