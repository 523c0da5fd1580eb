# The health command of containers.

program <- function(call, environment = character()) {
  started <- start_code(paste0("rendezvous::", call), environment)
  list(status = exit_status(started), said = printed(started, "err"))
}

test_that("a program tells by its status whether a server serves, and why not", {
  site <- start_site("rdv_serve(function(df) list(y = df$x), postbox = FALSE)")
  address <- site$model$address
  port <- sub(".*:", "", address)
  expect_identical(program(sprintf("rdv_health('%s')", address)), list(status = 0L, said = ""))
  expect_identical(program("rdv_health()", c(RENDEZVOUS_GRPC_PORT = port)), list(status = 0L, said = ""))
  cases <- list(
    list("rdv_health('127.0.0.1:1')", 1L, "^no connection to 127.0.0.1:1: .+"),
    list(sprintf("rdv_health('%s', service = 'other')", address), 1L, "^no service 'other' at 127.0.0.1:[0-9]+$"),
    list("rdv_health('nowhere')", 2L, "write it as host:port"),
    list("rdv_health()", 2L, "RENDEZVOUS_GRPC_PORT"),
    list("rdv_health('a:1', timeout = 'soon')", 2L, "no duration")
  )
  for (case in cases) {
    asked <- program(case[[1]], c(RENDEZVOUS_GRPC_PORT = ""))
    expect_identical(asked$status, case[[2]])
    expect_match(asked$said, case[[3]])
    expect_length(strsplit(asked$said, "\n")[[1]], 1)
  }
})

test_that("inside of a program it gives TRUE or raises an error", {
  site <- start_site("rdv_serve(function(df) list(y = df$x), postbox = FALSE)")
  expect_true(rdv_health(site$model$address, service = "rendezvous.v1.Score", timeout = "5s"))
  end_program(site$model)
  exit_status(site$model)
  expect_error(rdv_health(site$model$address), "no connection to", class = "rendezvous_unavailable")
  expect_error(rdv_health("a:b"), class = "rendezvous_invalid_request")
})

test_that("a server that says nothing is not waited for", {
  port <- free_port()
  mute <- serverSocket(port)
  on.exit(close(mute))
  expect_error(rdv_health(paste0("127.0.0.1:", port), timeout = 0.3), "no answer from .* within 0.3 s")
})
