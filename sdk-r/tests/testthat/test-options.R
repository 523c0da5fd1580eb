options_with <- function(..., environment = character()) {
  old <- Sys.getenv(names(environment), NA, names = TRUE)
  on.exit({
    Sys.unsetenv(names(old)[is.na(old)])
    if (any(!is.na(old))) do.call(Sys.setenv, as.list(old[!is.na(old)]))
  })
  if (length(environment)) do.call(Sys.setenv, as.list(environment))
  defaults <- list(
    model = rdv_model(function(df) df), endpoint = "e", name = NULL, version = NULL, nats = NULL, grpc_host = NULL,
    grpc_port = NULL, postbox = TRUE, grpc = TRUE, ack_wait = NULL, scoring_limit = NULL, credit = 4,
    max_joined_rows = 16384, max_message_bytes = 4194304, queue_capacity = 1024
  )
  do.call(serve_options, utils::modifyList(defaults, list(...)))
}

test_that("an argument comes before the environment, that before the default", {
  environment <- c(
    RENDEZVOUS_MODEL = "m", RENDEZVOUS_VERSION = "2.1", RENDEZVOUS_NATS = "nats://n:1", RENDEZVOUS_GRPC_PORT = "7",
    RENDEZVOUS_GRPC_HOST = "0.0.0.0", RENDEZVOUS_ACK_WAIT = "500ms", RENDEZVOUS_SCORING_LIMIT = "2m",
    RENDEZVOUS_ENRICHER = "2"
  )
  set <- options_with(environment = environment)
  expect_identical(
    set[c("name", "version", "nats", "grpc_port", "grpc_host", "ack_wait_s", "scoring_limit_s", "enricher")],
    list(name = "m", version = "2.1", nats = "nats://n:1", grpc_port = 7, grpc_host = "0.0.0.0", ack_wait_s = 0.5, scoring_limit_s = 120, enricher = 2)
  )
  expect_identical(options_with(enricher = TRUE)$enricher, 1)
  expect_identical(options_with(name = "own", ack_wait = 3, environment = environment)[c("name", "ack_wait_s")], list(name = "own", ack_wait_s = 3))
  default <- options_with()
  expect_identical(default[c("name", "version", "ack_wait_s", "scoring_limit_s")], list(name = "model", version = "1", ack_wait_s = 1, scoring_limit_s = 60))
})

test_that("options out of range are refused with value and range", {
  cases <- list(
    list(list(ack_wait = "soon"), "'soon', which is no duration"), list(list(ack_wait = 0.01), "ack wait is 0.01; allowed is 0.1 to 3600"),
    list(list(grpc_port = 70000), "allowed is 0 to 65535"), list(list(credit = 0), "credit is 0"),
    list(list(credit = 1.5), "whole number"), list(list(postbox = FALSE, grpc = FALSE), "leave one of them on"),
    list(list(enricher = 10), "enricher is 10; allowed is 0 to 9"),
    list(list(endpoint = "a.b"), "endpoint 'a.b' is not allowed"), list(list(version = "a b"), "version 'a b'")
  )
  for (case in cases) {
    expect_error(do.call(options_with, case[[1]]), case[[2]], fixed = TRUE, class = "rendezvous_invalid_request")
  }
})
