# What must hold when the connection to the broker is lost, for a while or for good.

test_that("a model that its broker refuses answers who calls it, says that it does not serve, and goes on when it may", {
  site <- start_site("rdv_serve(function(df) list(y = df$x))")
  end_program(site$nats, tools::SIGTERM)
  exit_status(site$nats)
  strict <- start_nats(site$port, site$store, "--user", "other", "--pass", "other")
  wait_until("the refusal", function() grepl("ERROR rendezvous: NATS at .* refuses this connection", printed(site$model, "err")))
  expect_error(rdv_health(site$model$address), "NOT_SERVING", class = "rendezvous_unavailable")
  expect_identical(rdv_score(rdv_client(site$model$address), list(x = 3))$y, 3)
  end_program(strict, tools::SIGTERM)
  exit_status(strict)
  site$nats <- start_nats(site$port, site$store)
  wait_until("the connection", function() wire_is_connected(site$wire))
  wire_subscribe(site$wire, "rv.e.score.*.in-memory") # the test's connection was given up as well
  wait_until("health", function() rdv_health(site$model$address))
  expect_identical(score_of(site, send_parcel(site, list(x = 7)))$outputs$y, 7)
  end_program(site$model, tools::SIGTERM)
  expect_identical(exit_status(site$model), 0L)
})

messages_in <- function(site, stream) {
  info <- wire_request(site$wire, paste0("$JS.API.STREAM.INFO.", stream), raw(), 2000)
  as.integer(sub('.*"messages":([0-9]+).*', "\\1", info))
}

test_that("a parcel whose score does not fit into the buffer of a lost connection comes again", {
  site <- start_site("rdv_serve(function(df) {
    Sys.sleep(if (1 %in% df$x) 2 else 0.01)
    list(text = rep(strrep('x', 850000), nrow(df)))
  }, credit = 16, max_joined_rows = 1)")
  for (i in 1:16) send_parcel(site, list(x = i))
  Sys.sleep(0.5)
  end_program(site$nats, tools::SIGTERM)
  exit_status(site$nats)
  Sys.sleep(3)
  site$nats <- start_nats(site$port, site$store)
  wait_until("the connection", function() wire_is_connected(site$wire))
  wait_until("all scores", function() messages_in(site, "RV_e_SCORES") >= 16, 25)
  wait_until("all acknowledgements", function() {
    consumer <- wire_request(site$wire, "$JS.API.CONSUMER.INFO.RV_e.model__1", raw(), 2000)
    grepl('"num_ack_pending":0', consumer, fixed = TRUE)
  })
  expect_gte(messages_in(site, "RV_e_SCORES"), 16)
})

test_that("a parcel whose items do not own its rows is answered and taken off the postbox", {
  site <- start_site("rdv_serve(function(df) list(y = df$x))")
  raw <- unwrap(box_parcel(list(rdv_encode(list(x = 7)), rdv_encode(list(x = 8))), "e", now_s() * 1e6, 6e7, ""))
  # The first item's rows, 1, become 3: they stand between its request id and its deadline.
  at <- grepRaw(as.raw(c(0x10, 0x01, 0x18)), raw, fixed = TRUE)
  raw[at + 1] <- as.raw(3)
  advisories <- open_wire(site$url)
  wait_until("the connection", function() wire_is_connected(advisories))
  wire_subscribe(advisories, "$JS.EVENT.ADVISORY.>")
  wire_request(site$wire, "rv.e.input", raw, 2000)
  expect_true(wait_until("the advisory", function() {
    advisory <- wire_next(advisories, 200)
    !is.null(advisory) && grepl("advisory.v1.terminated", rawToChar(advisory), fixed = TRUE)
  }))
  expect_identical(messages_in(site, "RV_e_SCORES"), 1L)
})
