double_code <- "rdv_serve(function(df) {
  if (3 %in% df$x) stop('three is bad')
  if (4 %in% df$x) Sys.sleep(1.5)
  while (5 %in% df$x) NULL
  data.frame(y = df$x * 2)
}, name = 'double')"

test_that("a model serves its postbox and gRPC, survives errors, hangs and its broker's restart, and drains", {
  site <- start_site(double_code, c(RENDEZVOUS_SCORING_LIMIT = "2500ms", RENDEZVOUS_ACK_WAIT = "400ms"))
  expect_match(site$model$ready, "^ready: model double:1 of endpoint e, replica [A-Za-z0-9_-]+, grpc 127.0.0.1:[0-9]+$")

  score <- score_of(site, send_parcel(site, list(x = c(1, NA)), list(x = 3), list(x = 7)))
  expect_identical(score$outputs$y, c(2, NA, 14))
  expect_identical(conditionMessage(condition_of(score$items[[2]]$error)), "the model raised simpleError: three is bad")
  expect_identical(score$delivery, 1)

  # Longer than ack_wait: signals of progress keep it from being delivered again. gRPC answers meanwhile.
  sent <- send_parcel(site, list(x = 4))
  client <- rdv_client(site$model$address, endpoint = "e")
  began <- now_s()
  expect_identical(rdv_describe(client)$name, "double")
  expect_lt(now_s() - began, 1)
  score <- score_of(site, sent)
  expect_identical(list(score$outputs$y, score$delivery), list(8, 1))

  # A loop without end is interrupted at the limit; the process lives on.
  score <- score_of(site, send_parcel(site, list(x = 5)))
  expect_match(conditionMessage(condition_of(score$items[[1]]$error)), "longer than 2.5 s (its scoring limit)", fixed = TRUE)
  expect_identical(rdv_score(client, list(x = 1))$y, 2)

  # The broker goes and comes back.
  end_program(site$nats, tools::SIGTERM)
  exit_status(site$nats)
  site$nats <- start_nats(site$port, site$store)
  wait_until("the connection", function() wire_is_connected(site$wire))
  back <- now_s()
  sent <- wait_until("the postbox", function() send_parcel(site, list(x = 6)))
  expect_identical(score_of(site, sent)$outputs$y, 12)
  expect_lt(now_s() - back, 3)

  # Drain: what is being scored is answered, what waits goes back, exit 0.
  first <- send_parcel(site, list(x = 4))
  Sys.sleep(0.3)
  second <- send_parcel(site, list(x = 8))
  end_program(site$model, tools::SIGTERM)
  expect_identical(score_of(site, first)$outputs$y, 8)
  expect_identical(exit_status(site$model, 9), 0L)
  start_model(site, double_code)
  expect_identical(score_of(site, second)$outputs$y, 16)
  consumer <- wire_request(site$wire, "$JS.API.CONSUMER.INFO.RV_e.double__1", raw(), 2000)
  expect_match(consumer, '"ack_wait":1000000000,"max_deliver":5,', fixed = TRUE)
  expect_identical(grep("ERROR", strsplit(printed(site$model, "err"), "\n")[[1]], value = TRUE), character())
})

test_that("an enricher reads the parcels of its stage", {
  site <- start_site("rdv_serve(function(df) data.frame(loans = df$x * 10), name = 'history', enricher = 2)")
  send_parcel(site, list(x = 1))
  sent <- send_parcel(site, list(x = c(2, 3)), subject = "rv.e.raw.2")
  score <- score_of(site, sent)
  expect_identical(score$outputs$loans, c(20, 30))
  expect_identical(score$stage, 2)
  consumer <- wire_request(site$wire, "$JS.API.CONSUMER.INFO.RV_e.history__1", raw(), 2000)
  expect_match(consumer, '"filter_subject":"rv.e.raw.2"', fixed = TRUE)
})

test_that("a second signal ends the process at once", {
  site <- start_site(double_code)
  send_parcel(site, list(x = 5))
  Sys.sleep(0.3)
  end_program(site$model, tools::SIGTERM)
  Sys.sleep(0.3)
  end_program(site$model, tools::SIGTERM)
  expect_identical(exit_status(site$model, 2), 128L + tools::SIGTERM)
})

test_that("a client scores, streams and describes, and gets typed errors", {
  site <- start_site("rdv_serve(rdv_model(
    function(df) if (any(df$x < 0)) stop('negative') else list(y = df$x, label = ifelse(df$x > 1, 'bad', NA)),
    inputs = c(x = 'FP64'), outputs = c('y', 'label'), task = 'regression'), postbox = FALSE)")
  client <- rdv_client(site$model$address)
  answer <- rdv_score(client, data.frame(x = 1:3), request_id = "my-id")
  expect_identical(answer$y, c(1, 2, 3))
  expect_identical(answer$label, c(NA, "bad", "bad"))
  expect_identical(rdv_answer(answer)[c("request_id", "model")], list(request_id = "my-id", model = "model"))
  expect_identical(rdv_describe(client)$inputs$x$type, "FP64")

  error <- expect_error(rdv_score(client, list(x = -1)), class = "rendezvous_model_failed")
  expect_identical(error$attributes[["exception"]], "simpleError")
  expect_error(rdv_score(client, list(z = 1)), "'x' \\(FP64\\[\\]\\) is absent", class = "rendezvous_signature_mismatch")
  expect_error(rdv_score(client, list(x = numeric())), "send at least 1", class = "rendezvous_invalid_frame")
  expect_error(rdv_score(client, list(x = 1), request_id = "a b"), class = "rendezvous_invalid_request")
  expect_error(rdv_score(client, list(x = 1), force_model = "other"), class = "rendezvous_unknown_model")
  expect_error(rdv_score(client, list(x = 1), timeout = 0), class = "rendezvous_invalid_request")
  expect_error(rdv_describe(rdv_client(site$model$address, endpoint = "nowhere")), class = "rendezvous_unknown_endpoint")

  tables <- lapply(1:200, function(i) list(x = if (i == 7) -1 else i + 0))
  answers <- rdv_stream(client, tables)
  expect_identical(vapply(answers[-7], function(each) each$y, 0), as.numeric(c(1:6, 8:200)))
  expect_s3_class(answers[[7]], "rendezvous_model_failed")
})

test_that("a client retries until the server is there, and gives up at its deadline", {
  port <- free_port()
  client <- rdv_client(paste0("127.0.0.1:", port), timeout = 0.5)
  began <- now_s()
  expect_error(rdv_score(client, list(x = 1)), class = "rendezvous_unavailable")
  expect_lt(now_s() - began, 2)
})

test_that("a client is refused in a fork of its process", {
  code <- "client <- rendezvous::rdv_client('127.0.0.1:1')
    job <- parallel::mcparallel(tryCatch(rendezvous::rdv_score(client, list(x = 1)), error = conditionMessage))
    cat(parallel::mccollect(job)[[1]])"
  program <- start_program(
    c(file.path(R.home("bin"), "Rscript"), "-e", code), c(R_LIBS = paste(.libPaths(), collapse = ":"))
  )
  expect_identical(exit_status(program), 0L)
  expect_match(printed(program), "make clients after forking")
})

test_that("a port that is taken is said", {
  site <- start_site(double_code)
  port <- as.integer(sub(".*:", "", site$model$address))
  expect_error(
    rdv_serve(function(df) df, endpoint = "e", grpc_port = port, postbox = FALSE), "cannot listen on",
    class = "rendezvous_unavailable"
  )
})
