twice <- function(df) data.frame(y = df$x * 2)

codes <- function(score) {
  vapply(score$items, function(item) if (is.null(item$error)) "" else item$error$code, "")
}

test_that("a request is scored and its answer says by whom", {
  box <- rdv_postbox(twice, name = "double", version = "1.2")
  answer <- box$score(data.frame(x = c(1, NA)))
  expect_identical(answer$y, c(2, NA))
  expect_identical(rdv_answer(answer)[c("model", "version")], list(model = "double", version = "1.2"))
  expect_null(rdv_answer(data.frame()))
})

test_that("setup and close are called, once each", {
  calls <- character()
  note <- function(what) function() calls <<- c(calls, what)
  box <- rdv_postbox(rdv_model(twice, setup = note("setup"), close = note("close")))
  box$score(data.frame(x = 1))
  box$close()
  expect_identical(calls, c("setup", "close"))
})

test_that("waiting parcels are scored as one table", {
  rows <- integer()
  box <- rdv_postbox(function(df) {
    rows <<- c(rows, nrow(df))
    twice(df)
  })
  scores <- box$deliver_together(box$parcel(list(x = 1), list(x = 2:3 + 0)), box$parcel(list(x = 4)))
  expect_identical(rows, 4L)
  expect_identical(lapply(scores, function(score) score$outputs$y), list(c(2, 4, 6), 8))
})

test_that("parcels of other columns are scored apart", {
  box <- rdv_postbox(function(df) list(n = rep(ncol(df), nrow(df))))
  scores <- box$deliver_together(box$parcel(list(x = 1)), box$parcel(list(x = 1, y = 2)))
  expect_identical(lapply(scores, function(score) score$outputs$n), list(1L, 2L))
})

test_that("a request that fails does so alone, in the author's words", {
  box <- rdv_postbox(function(df) if (any(df$x == 3)) stop("three is\n  bad ") else twice(df))
  score <- box$deliver(box$parcel(list(x = c(1, 2)), list(x = 3), list(x = 4)))
  expect_identical(codes(score), c("", "MODEL_FAILED", ""))
  expect_identical(score$outputs$y, c(2, 4, 8))
  error <- score$items[[2]]$error
  expect_identical(conditionMessage(error), "the model raised simpleError: three is bad")
  expect_identical(error$attributes, c(exception = "simpleError"))
})

test_that("each kind of failure is the model's own, never the process's", {
  cases <- list(
    list(function(df) stop(structure(class = c("own", "error", "condition"), list(message = "m", call = NULL))),
      "MODEL_FAILED", "the model raised own: m"),
    list(function(df) stop(), "MODEL_FAILED", "the model raised simpleError: no message"),
    list(function(df) stop(strrep("x", 999)), "MODEL_FAILED", "simpleError: x+\\.\\.\\.$"),
    list(function(df) undefined_function(df), "MODEL_FAILED", "could not find function"),
    list(function(df) (function(f) f(f))(function(f) f(f)), "MODEL_FAILED", "the model raised"),
    list(function(df) invokeRestart("abort"), "MODEL_FAILED", "broken off"),
    list(function(df) stop(rdv_error("TOO_LARGE", "too long", c(limit = 5))), "TOO_LARGE", "^too long$"),
    list(function(df) list(y = df$x[-1]), "INVALID_OUTPUT", "'y' has 1 values for 2 rows"),
    list(function(df) list(y = c("a", "b")), "INVALID_OUTPUT", "'y': character values do not fit type FP64"),
    list(function(df) list(z = df$x), "INVALID_OUTPUT", "'z' is unknown"),
    list(function(df) list(y = c(NaN, 1)), "INVALID_OUTPUT", "is NaN in row 0"),
    list(function(df) list(y = c(1, NA)), "INVALID_OUTPUT", "is missing in row 1"),
    list(function(df) list(), "INVALID_OUTPUT", "no columns"),
    list(function(df) NULL, "INVALID_OUTPUT", "rows|values"),
    list(function(df) function() 1, "INVALID_OUTPUT", "type closure"),
    list(function(df) matrix(1, 2, 2), "INVALID_OUTPUT", "matrix of 2 rows and 2 columns")
  )
  for (case in cases) {
    box <- rdv_postbox(rdv_model(case[[1]], outputs = c(y = "FP64")))
    error <- suppressMessages(box$deliver(box$parcel(list(x = c(1, 2))))$items[[1]]$error)
    expect_identical(error$code, case[[2]], info = case[[3]])
    expect_match(conditionMessage(error), case[[3]])
    expect_lt(nchar(conditionMessage(error)), 350)
  }
})

test_that("vectors and matrices get the declared names", {
  expect_equal(rdv_postbox(rdv_model(function(df) df$x, outputs = "p"))$score(list(x = 1:2))$p, 1:2)
  expect_equal(rdv_postbox(rdv_model(function(df) as.matrix(df$x), outputs = "p"))$score(list(x = c(1, 2)))$p, c(1, 2))
  both <- rdv_postbox(rdv_model(function(df) cbind(df$x, -df$x), outputs = c("p", "q")))$score(list(x = c(1, 2)))
  expect_equal(both, data.frame(p = c(1, 2), q = c(-1, -2)), ignore_attr = TRUE)
  expect_error(rdv_postbox(function(df) df$x)$score(list(x = 1)), "declares no output names", class = "rendezvous_invalid_output")
})

test_that("declared inputs are chosen, checked and converted; others are left out", {
  seen <- NULL
  model <- rdv_model(function(df) {
    seen <<- df
    list(ok = rep(TRUE, nrow(df)))
  }, inputs = list(when = "POSIXct", kind = rdv_column("factor", levels = c("b", "a")), n = "INT32"))
  box <- rdv_postbox(model)
  box$score(data.frame(other = 1, n = 2, kind = "a", when = as.POSIXct(60, origin = "1970-01-01", tz = "UTC")))
  expect_identical(names(seen), c("when", "kind", "n"))
  expect_identical(as.numeric(seen$when), 60)
  expect_identical(seen$kind, factor("a", levels = c("b", "a")))
  expect_identical(seen$n, 2L)
  expect_error(box$score(list(n = 1L, kind = "a")), "'when' \\(INT64\\[\\]\\) is absent", class = "rendezvous_signature_mismatch")
  expect_error(
    box$score(list(n = NA, kind = "a", when = Sys.time())), "'n' is missing in row 0",
    class = "rendezvous_signature_mismatch"
  )
})

test_that("expired requests are not scored, the others are; the clock moves only when told", {
  box <- rdv_postbox(twice)
  parcel <- box$parcel(list(x = 1), budget = 0.1)
  box$advance(0.0999)
  expect_identical(codes(box$deliver(parcel)), "")
  box$advance(0.0001)
  score <- box$deliver(parcel)
  expect_identical(codes(score), "EXPIRED")
  expect_identical(score$delivery, 2)
})

test_that("a parcel is given up at its fifth delivery", {
  box <- rdv_postbox(twice)
  parcel <- box$parcel(list(x = 1))
  seen <- vapply(1:5, function(k) codes(box$deliver(parcel)), "")
  expect_identical(seen, c("", "", "", "", "MODEL_FAILED"))
})

test_that("a score larger than a message may be is TOO_LARGE", {
  box <- rdv_postbox(function(df) list(text = strrep("x", df$x)))
  expect_error(box$score(list(x = 1e6)), "the limit is 921600", class = "rendezvous_too_large")
})

test_that("the trace context of each item is answered", {
  box <- rdv_postbox(twice)
  context <- "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
  expect_identical(box$deliver(box$parcel(list(x = 1), traceparent = context))$items[[1]]$traceparent, context)
  expect_identical(box$deliver(box$parcel(list(x = 1), traceparent = "malformed"))$items[[1]]$traceparent, "")
})

test_that("more is taken ahead of a fast model, never of a slow or a dying one", {
  cases <- list(
    list(4, 4, 4, 400, FALSE, 8), list(32, 4, 32, 1000, FALSE, 64), list(64, 4, 64, 1000, FALSE, 64),
    list(64, 4, 4, 100000, FALSE, 4), list(64, 4, 4, 100, TRUE, 4), list(1, 1, 1, 1, FALSE, 1),
    list(100, 100, 9, 1, FALSE, 100)
  )
  for (case in cases) expect_identical(do.call(credit_after, case[1:5]), as.integer(case[[6]]))
})
