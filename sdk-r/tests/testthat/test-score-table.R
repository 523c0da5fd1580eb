# Large tables, in chunks.

test_that("a large table is scored in chunks, in order, with every type of column", {
  site <- start_site("rdv_serve(function(df) {
    if (any(df$x == 2500)) stop('no 2500')
    list(y = df$x * 2, text = ifelse(df$x %% 2 == 0, 'even', NA_character_), pair = cbind(df$x, -df$x), raw = lapply(df$x, function(x) as.raw(x %% 256)))
  }, postbox = FALSE)")
  client <- rdv_client(site$model$address)
  df <- data.frame(x = seq_len(2001) + 0)
  whole <- rdv_score(client, df)
  for (chunk_rows in c(1999, 100, 2001, 5000)) {
    table <- rdv_score_table(client, df, chunk_rows = chunk_rows, progress = FALSE)
    chunks <- rdv_answer(table)$chunks
    attr(table, "rdv_answer") <- attr(whole, "rdv_answer")
    expect_identical(table, whole)
    expect_identical(nrow(chunks), as.integer(ceiling(2001 / chunk_rows)))
    expect_identical(chunks$model[1], "model")
  }
  bar <- capture.output(rdv_score_table(client, df, chunk_rows = 500, progress = TRUE))
  expect_match(paste(bar, collapse = ""), "100%", fixed = TRUE)
  expect_identical(capture.output(invisible(rdv_score_table(client, df, progress = FALSE))), character())

  df <- data.frame(x = seq_len(3000) + 0)
  warned <- expect_warning(table <- rdv_score_table(client, df, progress = FALSE), class = "rendezvous_chunks_failed")
  expect_match(conditionMessage(warned), "1 of 3 chunks failed, their rows are NA: rows 2001 to 3000 (MODEL_FAILED: ", fixed = TRUE)
  expect_identical(table$y, c(1:2000 * 2, rep(NA, 1000)))
  expect_identical(dim(table$pair), c(3000L, 2L))
  expect_null(table$raw[[2500]])
  expect_identical(rdv_answer(table)$chunks$code, c("", "", "MODEL_FAILED"))
  expect_error(rdv_score_table(client, df, 3000, FALSE), "no row was scored; rows 1 to 3000 (MODEL_FAILED", fixed = TRUE, class = "rendezvous_model_failed")
  cases <- list(
    list(quote(rdv_score_table(client, list(x = 1))), "give a data.frame", "rendezvous_invalid_request"),
    list(quote(rdv_score_table(client, df, chunk_rows = 0)), "chunk rows is 0", "rendezvous_invalid_request"),
    list(quote(rdv_score_table(client, df[0, , drop = FALSE])), "has no rows", "rendezvous_invalid_frame"),
    list(quote(rdv_score_table(client, df, traceparent = "x")), "as W3C has it", "rendezvous_invalid_request")
  )
  for (case in cases) expect_error(eval(case[[1]]), case[[2]], class = case[[3]])
})

test_that("chunks that are refused for now are tried again with their request ids, when the server says", {
  site <- start_site("tries <- 0
  rdv_serve(function(df) {
    tries <<- tries + 1
    if (tries %in% c(1, 3)) stop(rdv_error('OVERLOADED', 'later', c(retry_after_ms = 400)))
    list(y = df$x, tries = rep(tries, nrow(df)))
  }, postbox = FALSE)")
  client <- rdv_client(site$model$address)
  rdv_describe(client)
  began <- now_s()
  expect_identical(rdv_score(client, list(x = 1))$tries, 2)
  expect_gte(now_s() - began, 0.4)
  expect_identical(rdv_score_table(client, data.frame(x = 1:3), progress = FALSE)$tries, rep(4, 3))
  expect_identical(rdv_score_table(client, data.frame(x = 1:3), 1, FALSE)$y, 1:3)
})

test_that("a request belongs to the trace that is given, and its answer says so", {
  site <- start_site("rdv_serve(function(df) list(y = df$x), postbox = FALSE)")
  client <- rdv_client(site$model$address)
  traceparent <- "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
  expect_identical(rdv_answer(rdv_score(client, list(x = 1), traceparent = traceparent))$trace_id, substr(traceparent, 4, 35))
  expect_identical(rdv_answer(rdv_stream(client, list(list(x = 1)), traceparent = traceparent)[[1]])$traceparent, traceparent)
  expect_identical(rdv_answer(rdv_score(client, list(x = 1)))$trace_id, "")
  expect_error(rdv_score(client, list(x = 1), traceparent = "00-1"), "as W3C has it", class = "rendezvous_invalid_request")
})
