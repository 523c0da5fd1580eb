test_that("declarations that are none are refused with what to do", {
  score <- function(df) df
  cases <- list(
    "give a function" = quote(rdv_model("score")),
    "it must take 1" = quote(rdv_model(function(a, b) a)),
    "it must take 1" = quote(rdv_model(function() 1)),
    "it must take 0" = quote(rdv_model(score, setup = function(x) x)),
    "columns need names and types" = quote(rdv_model(score, inputs = c("a", "b"))),
    "needs a type" = quote(rdv_model(score, inputs = list(a = rdv_column()))),
    "use one of" = quote(rdv_model(score, inputs = c(a = "FLOAT"))),
    "use 1 to 64 of" = quote(rdv_model(score, name = "a b")),
    "unknown field 'when'" = quote(rdv_model(score, training = list(when = 1))),
    "give an rdv_model()" = quote(rdv_postbox(1))
  )
  for (k in seq_along(cases)) {
    expect_error(eval(cases[[k]]), names(cases)[k], fixed = TRUE, class = "rendezvous_invalid_request")
  }
})

test_that("what a model says of itself is complete", {
  model <- rdv_model(function(df) list(p = 1),
    inputs = list(a = "FP64", v = rdv_column("FP32", shape = c(2, 3), allow_missing = TRUE, allow_nan = TRUE, description = "d")),
    outputs = "p", task = "classification", labels = c("good", "bad"), description = "for people",
    training = list(data_reference = "s3", data_sha256 = "ab", trained = as.POSIXct(1e9, origin = "1970-01-01"), metrics = c(auc = 0.75))
  )
  info <- unwrap(info_check(model_info(model, "2", find = TRUE)))
  expect_identical(info$version, "2")
  expect_identical(info$language, "r")
  expect_match(info$runtime, "^R 4")
  expect_identical(info$sdk, "rendezvous-sdk-r 0.1.0")
  expect_identical(names(info$inputs), c("a", "v"))
  expect_identical(info$inputs$v$shape, c(2, 3))
  expect_true(info$inputs$v$allow_missing && info$inputs$v$allow_nan && !info$inputs$a$allow_missing)
  expect_identical(info$labels, c("good", "bad"))
  expect_identical(info$training$trained_unix_us, 1e15)
  expect_identical(info$training$metrics, c(auc = 0.75))
  expect_true("rendezvous" %in% names(info$packages))
})

test_that("credentials are taken out of a repository's address", {
  cases <- c(
    "https://user:secret@example.org/r.git?token=1" = "https://example.org/r.git",
    "git@example.org:team/r.git" = "example.org:team/r.git", "/srv/r.git" = "/srv/r.git"
  )
  for (address in names(cases)) expect_identical(strip_credentials(address), cases[[address]])
})

test_that("a fit is served with the columns of its formula, factors with their levels", {
  train <- data.frame(
    y = c(0, 1, 0, 1, 1, 0, 1, 0), x = c(1, 2, 3, 4, 5, 6, 7, 8) / 2,
    g = factor(rep(c("b", "a"), 4), levels = c("b", "a")), s = rep(c("u", "v", "u"), length.out = 8),
    l = rep(c(TRUE, FALSE), each = 4), d = as.Date("2024-01-01") + c(3, 1, 4, 1, 5, 9, 2, 6)
  )
  fit <- lm(y ~ log(x) + g + s + l + d, data = train)
  model <- rdv_model_predict(fit, output = "score")
  expect_identical(
    declared_types(model$inputs, NULL), c(x = "FP64", g = "STRING", s = "STRING", l = "BOOL", d = "INT64")
  )
  box <- rdv_postbox(model)
  expect_equal(box$score(train[1:3, ])$score, unname(predict(fit, train[1:3, ])))
  expect_equal(box$score(transform(train[1:3, ], x = 1:3))$score, unname(predict(fit, transform(train[1:3, ], x = 1:3))))
  whole <- unwrap(frame_encode(as.list(transform(train[1, ], x = 2L)), c(x = "INT64")))
  expect_equal(box$score(rdv_decode(whole, int64 = "integer64", inputs = c(d = "Date")))$score, unname(predict(fit, transform(train[1, ], x = 2))))
  expect_true(is.na(box$score(transform(train[1:2, ], x = NA_real_))$score[1]))
  error <- expect_error(box$score(transform(train[1, ], g = "c")), class = "rendezvous_signature_mismatch")
  expect_match(conditionMessage(error), "'c' is none of its levels: b, a")
})

test_that("matrices and data frames of predict() become columns; other classes are refused", {
  two <- structure(list(), class = "two_columns")
  registerS3method("predict", "two_columns", function(object, newdata, type) cbind(good = newdata$x, bad = 1 - newdata$x))
  expect_equal(rdv_postbox(rdv_model_predict(two))$score(list(x = 0.25)), list(good = 0.25, bad = 0.75), ignore_attr = TRUE)
  expect_error(rdv_model_predict(structure(list(), class = "alien")), "no predict() method", fixed = TRUE)
})
