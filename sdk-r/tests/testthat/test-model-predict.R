days <- data.frame(
  y = c(1, 3, 2, 5, 4, 6, 8, 7), own = c(1, 2, 3, 5, 8, 13, 21, 34),
  since = as.Date("2024-01-01") + c(3, 100, 41, 1, 500, 90, 20, 6), p = rep(c("a", "b"), 4)
)
days$at <- as.POSIXct(days$since, tz = "America/New_York") + 3600 * c(1, 22, 3, 20, 5, 23, 2, 9)
factor_of_two <- 2

test_that("variables inside of calls come as the training data had them", {
  formulas <- list(
    y ~ as.numeric(since), y ~ I(as.numeric(since) / 365), y ~ poly(since, 2), y ~ splines::ns(since, 3), y ~ factor(p),
    y ~ as.factor(p), y ~ I(p == "a"), y ~ I(own * factor_of_two) + since, y ~ I(as.POSIXlt(at)$hour), log(y) ~ log(own):factor(p)
  )
  for (formula in formulas) {
    fit <- lm(formula, days)
    model <- rdv_model_predict(fit)
    expect_equal(rdv_postbox(model)$score(days[2:4, ])$prediction, unname(predict(fit, days[2:4, ])), info = deparse(formula))
    expect_false("factor_of_two" %in% names(declared_types(model$inputs, NULL)))
  }
  expect_identical(declared_types(rdv_model_predict(lm(y ~ poly(since, 2), days))$inputs, NULL), c(since = "INT64"))
  time <- 1:8
  fit <- glm(y ~ factor(p), poisson(), days, offset = log(own))
  expect_equal(rdv_postbox(rdv_model_predict(fit))$score(days[1:2, ])$prediction, unname(fitted(fit)[1:2]))
  expect_identical(declared_types(rdv_model_predict(lm(days$y ~ log(time)))$inputs, NULL), c(time = "FP64"))
})

test_that("a class that cannot be known is refused, and can be said", {
  fit <- local({
    gone <- days
    lm(y ~ as.numeric(since) + own, gone)
  })
  rm("gone", envir = environment(formula(fit)))
  error <- expect_error(rdv_model_predict(fit), "variable 'since'", class = "rendezvous_invalid_request")
  expect_match(conditionMessage(error), "inputs = list(since = \"Date\")", fixed = TRUE)
  model <- rdv_model_predict(fit, inputs = c(since = "Date"), name = "said")
  expect_identical(model$name, "said")
  expect_identical(declared_types(model$inputs, NULL), c(since = "INT64", own = "FP64"))
  expect_equal(rdv_postbox(model)$score(days[1:3, ])$prediction, unname(predict(fit, days[1:3, ])))
  days$wait <- days$since - days$since[1]
  expect_error(rdv_model_predict(lm(y ~ as.numeric(wait), days)), "'wait' of the formula is difftime", fixed = TRUE)
  fit <- lm(y ~ own + p, days)
  model <- rdv_model_predict(fit, inputs = list(own = "INT64"))
  expect_identical(declared_types(model$inputs, NULL), c(own = "INT64", p = "STRING"))
  expect_error(rdv_model_predict(fit, inputs = list(p = NULL)), "object 'p' not found")
})

with_method <- function(class, method) {
  registerS3method("predict", class, method, envir = asNamespace("stats"))
  fit <- lm(y ~ own, days)
  class(fit) <- c(class, class(fit))
  fit
}

test_that("the type is one that the method takes; its choices are said", {
  fit <- with_method("chooser", function(object, newdata, type = c("vector", "prob"), ...) {
    type <- match.arg(type)
    stats::predict.lm(object, newdata) + (type == "prob")
  })
  expected <- unname(fitted(lm(y ~ own, days))[1:2])
  expect_equal(rdv_postbox(rdv_model_predict(fit))$score(days[1:2, ])$prediction, expected)
  expect_equal(rdv_postbox(rdv_model_predict(fit, type = "prob"))$score(days[1:2, ])$prediction, expected + 1)
  expect_error(rdv_model_predict(fit, type = "response"), "takes \"vector\", \"prob\"", fixed = TRUE, class = "rendezvous_invalid_request")
  expect_error(rdv_model_predict(fit, type = c("vector", "prob")), "it must be one text", fixed = TRUE)
  fit <- with_method("strict", function(object, newdata, type = "raw", ...) {
    if (type != "raw") stop("type must be raw")
    stats::predict.lm(object, newdata)
  })
  expect_equal(rdv_postbox(rdv_model_predict(fit))$score(days[1:2, ])$prediction, expected)
  fit <- with_method("plain", function(object, newdata) stats::predict.lm(object, newdata))
  expect_equal(rdv_postbox(rdv_model_predict(fit))$score(days[1:2, ])$prediction, expected)
  expect_error(rdv_model_predict(fit, type = "x"), "takes no `type`", fixed = TRUE)
})

test_that("what does not give one row for each is refused when the model is made", {
  cases <- list(
    "gives a list (class, posterior)" = function(object, newdata, ...) list(class = newdata$own, posterior = newdata$own),
    "takes `data`, not `newdata`" = function(object, data = NULL, ...) data$own,
    "gives 1 values for 3 rows" = function(object, newdata, ...) 1,
    "gives 0 values for 3 rows" = function(object, newdata, ...) NULL
  )
  for (k in seq_along(cases)) {
    fit <- with_method(paste0("odd", k), cases[[k]])
    expect_error(rdv_model_predict(fit), names(cases)[k], fixed = TRUE, class = "rendezvous_invalid_request")
  }
  expect_error(rdv_model_predict(lm(days$y ~ days$own)), class = "rendezvous_invalid_request")
  dropped <- with_method("dropped", function(object, newdata, ...) drop(cbind(a = newdata$own, b = 1)))
  expect_equal(rdv_postbox(rdv_model_predict(dropped))$score(days[2, ]), list(a = 2, b = 1), ignore_attr = TRUE)
})

test_that("a warning of predict() names the fit instead of spelling it out", {
  fit <- with_method("warner", function(object, newdata, ...) {
    warning("far away")
    newdata$own
  })
  score <- predict_scorer(fit, list(), "prediction", list())
  expect_identical(deparse(conditionCall(expect_warning(score(days), "far away"))), "predict.warner(fit, newdata = df)")
})

test_that("the default name is a clean one", {
  cases <- c("randomForest.formula" = "randomForest", "a b/c" = "a-b-c", "lm" = "lm")
  for (class in names(cases)) expect_identical(default_name(structure(list(), class = class)), cases[[class]])
})

test_that("a model that gives NULL is told so", {
  expect_error(rdv_postbox(function(df) NULL)$score(list(x = 1)), "the model gave NULL", class = "rendezvous_invalid_output")
})
