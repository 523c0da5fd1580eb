# What is too long, too large or too much is cut or refused, and said in our own words.

limits_code <- "rdv_serve(rdv_model(function(df) {
  if (2 %in% df$x) quit(status = 3)
  if (3 %in% df$x) base::q('no')
  if (4 %in% df$x) stop(rdv_error('TOO_LARGE', strrep('\u00e4', 5000), c(a = strrep('y', 9000), limit = '5')))
  list(y = matrix(0, nrow(df), 10))
}, inputs = c(x = 'FP64')), postbox = FALSE)"

test_that("errors fit into gRPC's metadata, requests beyond the limit are refused by us, quit() is an error", {
  site <- start_site(limits_code)
  client <- rdv_client(site$model$address, max_message_bytes = 64 * 1024^2)
  many <- stats::setNames(as.list(seq_len(400) + 0), sprintf("a_feature_with_a_usual_name_%d", 1:400))
  expect_error(rdv_score(client, many), "name_20 and 380 more$", class = "rendezvous_signature_mismatch")

  error <- expect_error(rdv_score(client, list(x = 4)), class = "rendezvous_too_large")
  expect_identical(nchar(conditionMessage(error)), 1000L)
  expect_identical(error$attributes[["limit"]], "5")
  expect_lte(sum(nchar(error$attributes)), 4096)

  expect_error(rdv_score(client, list(x = numeric(650000))), "the limit is 4194304", class = "rendezvous_too_large")
  expect_s3_class(rdv_stream(client, list(list(x = numeric(650000))))[[1]], "rendezvous_too_large")

  for (x in 2:3) {
    expect_error(rdv_score(client, list(x = x)), "the model called quit()", fixed = TRUE, class = "rendezvous_model_failed")
  }
  expect_identical(dim(rdv_score(client, list(x = 1))$y), c(1L, 10L))
})

test_that("of a stream whose answers nobody takes only some requests are read", {
  site <- start_site(limits_code)
  # Written until one waits for a second. What gRPC holds on the way is some tens of megabytes at most; these would be 200.
  written <- stream_unread(site$model$address, rdv_encode(list(x = numeric(5000))), 5000, 1000)
  expect_gt(written, 0)
  expect_lt(written, 5000)
  expect_identical(nrow(rdv_score(rdv_client(site$model$address), list(x = 1))), 1L)
})

test_that("the errors of very many requests fit into one score", {
  box <- rdv_postbox(function(df) list(text = rep(strrep("x", 200), nrow(df))))
  score <- box$deliver(do.call(box$parcel, rep(list(list(x = TRUE)), 6000)))
  expect_null(score$outputs)
  expect_identical(unique(vapply(score$items, function(item) item$error$code, "")), "TOO_LARGE")
  expect_identical(unique(vapply(score$items, function(item) conditionMessage(item$error), "")), "too large")
})

test_that("quit() is restored after scoring", {
  before <- base::quit
  box <- rdv_postbox(function(df) q())
  expect_error(box$score(list(x = 1)), "the model called quit()", fixed = TRUE, class = "rendezvous_model_failed")
  expect_identical(base::quit, before)
  expect_true(bindingIsLocked("quit", baseenv()))
})
