# Keys and TLS, of clients and of models.

double_model <- "rdv_serve(function(df) list(y = df$x * 2), name = 'double')"

test_that("a key goes to other machines over TLS alone, and what is no key, no file or half a certificate is refused", {
  key <- new_key()$text
  file <- tempfile()
  writeLines("nothing", file)
  cases <- list(
    list(quote(rdv_client("h.example:1", key = key)), "would be sent to h.example without encryption"),
    list(quote(rdv_client("127.0.0.1.example:1", key = key)), "without encryption"),
    list(quote(rdv_client("h:1", key = "rv_no_key")), "the key given (9 characters) is none"),
    list(quote(rdv_client("h:1", key = c(key, key))), "`key` must be one text"),
    list(quote(rdv_client("h:1", ca = "/nowhere")), "which cannot be read"),
    list(quote(rdv_client("h:1", ca = file)), "is not in PEM format"),
    list(quote(rdv_client("h:1", tls = "maybe")), "tls is \"maybe\": write 1 or 0"),
    list(quote(rdv_client("h:1", tls = FALSE, ca = file)), "leave one of them out"),
    list(quote(rdv_serve(identity, "e", nats = "nats://127.0.0.1:1,nats://n.example:1", key = key)), "would be sent to n.example"),
    list(quote(rdv_serve(identity, "e", nats = "nats://u:p@127.0.0.1:1", key = key)), "names a user, and a key is given")
  )
  for (case in cases) {
    error <- expect_error(eval(case[[1]]), case[[2]], fixed = TRUE, class = "rendezvous_invalid_request")
    expect_false(grepl(substr(key, 17, 68), paste(capture.output(print(error), str(error)), collapse = ""), fixed = TRUE))
  }
  for (address in c("127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:1")) expect_s3_class(rdv_client(address, key = key), "rdv_client")
  for (more in list(list(tls = TRUE), list(insecure = TRUE))) {
    expect_s3_class(do.call(rdv_client, c(list("h.example:1", key = key), more)), "rdv_client")
  }
})

test_that("key and certificates come from the environment where no argument says otherwise", {
  key <- new_key()$text
  file <- tempfile()
  writeLines(key, file)
  pem <- make_certificates()
  set <- function(...) {
    given <- c(...)
    do.call(Sys.setenv, as.list(given))
    on.exit(Sys.unsetenv(names(given)))
    security_of()
  }
  expect_identical(set(RENDEZVOUS_KEY = key)$key, key)
  expect_identical(set(RENDEZVOUS_KEY_FILE = file)$key, key)
  expect_true(set(RENDEZVOUS_TLS = "1")$tls)
  expect_identical(set(RENDEZVOUS_CA = pem("ca.pem"))[c("ca", "tls")], list(ca = normalizePath(pem("ca.pem")), tls = TRUE))
  expect_error(set(RENDEZVOUS_CERT = pem("model.pem")), "belong together", class = "rendezvous_invalid_request")
  expect_identical(security_of(), list(key = "", ca = "", cert = "", cert_key = "", tls = FALSE))
})

test_that("no way of printing a client, an error or a line of the log shows a key", {
  key <- new_key()
  client <- rdv_client("127.0.0.1:1", key = key$text, timeout = 0.1)
  error <- expect_error(rdv_score(client, list(x = 1)), class = "rendezvous_unavailable")
  shown <- capture.output(
    print(client), str(client), print(as.list.environment(client)), cat(format(client)), cat(deparse(client)), print(error),
    str(error), print(ls.str(client)), print(rdv_postbox(function(df) stop(key$text)))
  )
  expect_no_match(paste(shown, collapse = "\n"), key$secret, fixed = TRUE)
  failed <- expect_error(rdv_postbox(function(df) stop(key$text))$score(list(x = 1)))
  expect_match(conditionMessage(failed), paste0("rv_", key$id, "_***"), fixed = TRUE)
  program <- start_code(sprintf("rendezvous:::log_write('error', 'with %s')", key$text))
  exit_status(program)
  expect_match(printed(program, "err"), paste0("with rv_", key$id, "_***"), fixed = TRUE)
})

test_that("over mutual TLS a model with a key does its work and asks for no more than it may", {
  pem <- make_certificates()
  site <- start_keyed_site(pem)
  begin_model(site, double_model, c(
    RENDEZVOUS_KEY = site$key$text, RENDEZVOUS_CA = pem("ca.pem"), RENDEZVOUS_CERT = pem("model.pem"),
    RENDEZVOUS_CERT_KEY = pem("model.key"), RENDEZVOUS_ACK_WAIT = "700ms"
  ))
  wait_until("that it waits", function() grepl("the router makes consumer double__1", printed(site$model, "err")))
  make_consumer(site)
  await_model(site)
  expect_identical(score_of(site, send_parcel(site, list(x = 4), list(x = 5)))$outputs$y, c(8, 10))
  expect_match(printed(site$model, "err"), "has ack_wait 1 s, not this model's 0.7 s, and this model may not change it")
  wait_until("the acknowledgement", function() {
    grepl('"num_ack_pending":0', wire_request(site$wire, "$JS.API.CONSUMER.INFO.RV_e.double__1", raw(), 2000), fixed = TRUE)
  })
  # The broker comes back.
  end_program(site$nats, tools::SIGTERM)
  exit_status(site$nats)
  site$nats <- start_nats(site$port, site$store, "-c", site$config)
  wait_until("the connection", function() wire_is_connected(site$wire))
  expect_identical(score_of(site, wait_until("the postbox", function() send_parcel(site, list(x = 6))))$outputs$y, 12)
  end_program(site$model, tools::SIGTERM)
  expect_identical(exit_status(site$model), 0L)
  said <- printed(site$model, "err")
  expect_no_match(said, "Not Permitted|Permissions Violation|ERROR")
  expect_no_match(said, site$key$secret, fixed = TRUE)
})

test_that("a key that is refused is said without the key, and the model goes on when it is there again", {
  site <- start_keyed_site()
  make_consumer(site)
  write_nats_config(site$config, site$key, is_revoked = TRUE)
  tools::pskill(site$nats$pid, tools::SIGHUP)
  wait_until("the new configuration", function() grepl("Reloaded server configuration", printed(site$nats, "err")))
  port <- free_port()
  begin_model(site, double_model, c(RENDEZVOUS_KEY = site$key$text, RENDEZVOUS_GRPC_PORT = port))
  refused <- paste0("ERROR rendezvous: NATS at .* refuses the key ", site$key$id)
  wait_until("the refusal", function() grepl(refused, printed(site$model, "err")))
  address <- paste0("127.0.0.1:", port)
  wait_until("health", function() tryCatch(rdv_health(address), error = function(cond) grepl("NOT_SERVING", conditionMessage(cond))))
  write_nats_config(site$config, site$key)
  tools::pskill(site$nats$pid, tools::SIGHUP)
  await_model(site)
  wait_until("health", function() rdv_health(address))
  expect_identical(score_of(site, send_parcel(site, list(x = 1)))$outputs$y, 2)
  # Revoked while it serves.
  write_nats_config(site$config, site$key, is_revoked = TRUE)
  tools::pskill(site$nats$pid, tools::SIGHUP)
  wait_until("the second refusal", function() {
    length(grep(refused, strsplit(printed(site$model, "err"), "\n")[[1]])) >= 2
  })
  wait_until("NOT_SERVING", function() {
    tryCatch(is.null(rdv_health(address)), error = function(cond) grepl("NOT_SERVING", conditionMessage(cond)))
  })
  expect_no_match(printed(site$model, "err"), site$key$secret, fixed = TRUE)
})

test_that("a broker whose certificate is of another authority is not spoken to", {
  site <- start_keyed_site(make_certificates())
  other <- make_certificates()
  begin_model(site, double_model, c(RENDEZVOUS_KEY = site$key$text, RENDEZVOUS_CA = other("ca.pem")))
  refused <- "ERROR rendezvous: no secure connection to NATS at .*certificate"
  expect_true(wait_until("the refusal", function() grepl(refused, printed(site$model, "err"))))
})

test_that("without a key, a model that may not make its consumer waits for it", {
  site <- start_keyed_site()
  site$url <- sprintf("nats://%s:%s@127.0.0.1:%d", site$key$id, site$key$secret, site$port)
  config <- readLines(site$config)
  writeLines(sub(paste0("_INBOX_", site$key$id, ".>"), "_INBOX.>", config, fixed = TRUE), site$config)
  tools::pskill(site$nats$pid, tools::SIGHUP)
  wait_until("the new configuration", function() grepl("Reloaded server configuration", printed(site$nats, "err")))
  begin_model(site, double_model)
  wait_until("that it waits", function() grepl("may not make consumer double__1, the router does", printed(site$model, "err")))
  make_consumer(site, "2000000000")
  await_model(site)
  expect_identical(score_of(site, send_parcel(site, list(x = 4)))$outputs$y, 8)
  expect_match(printed(site$model, "err"), "has ack_wait 2 s, not this model's 1 s")
})
