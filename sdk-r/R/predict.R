#' Makes a model of anything with a `predict()` method
#'
#' The signature's inputs are the variables of the fit's formula, as the training data had them: numbers of any type,
#' logical, text, `Date` and `POSIXct`; factors keep their levels, so that `predict()` sees what it was trained on.
#' Variables that the formula takes from its surroundings, such as constants, are no inputs. Missing values are let
#' through to `predict()`.
#'
#' Where the training data is at hand (in the fit, or still where the fit's call found it), `predict()` is tried on a few
#' of its rows: what cannot be served is refused here, not when it is asked.
#'
#' @param fit A fitted model: `lm`, `glm`, `rpart`, `randomForest`, ... It needs `terms()` for the inputs to be declared.
#' @param ... Further arguments of `predict()`.
#' @param type Given to `predict()`. Default: `"response"` where its method has that, else what the method does without.
#' @param output Name of the output column, where `predict()` gives a vector. Default: `"prediction"`.
#' @param inputs Declarations that go before what the fit tells, as in [rdv_model()]: types or [rdv_column()]s by name;
#'   `NULL`: not an input. Needed for variables whose class the fit does not tell. Default: none.
#' @param name Name of the model. Default: the fit's class.
#' @param task,labels,training,description As in [rdv_model()].
#' @return An `rdv_model`.
#' @section Errors: `rendezvous_invalid_request`: there is no `predict()` method for the class, it does not take `type`, it
#'   does not give one row for each, or the class of a variable is not known.
#' @examples
#' fit <- glm(am ~ wt + factor(cyl), data = mtcars, family = binomial())
#' rdv_postbox(rdv_model_predict(fit, output = "manual"))$score(mtcars[1:2, c("wt", "cyl")])
#' @export
rdv_model_predict <- function(fit, ..., type = NULL, output = "prediction", inputs = NULL, name = default_name(fit),
                              task = "", labels = character(), training = NULL, description = "") {
  method <- predict_method(fit)
  known <- fit_variables(fit, names(inputs))
  columns <- declared_of_fit(fit, known, inputs)
  scorers <- lapply(types_to_try(fit, method, type), function(chosen) {
    predict_scorer(fit, c(chosen, list(...)), output, zones_of(known))
  })
  sample <- sample_of(columns, known)
  score <- if (is.null(sample)) scorers[[1]] else first_that_scores(scorers, fit, method, sample, columns_of(columns))
  rdv_model(score,
    inputs = columns, name = name, task = task, labels = labels, training = training,
    description = if (nzchar(description)) description else formula_text(fit)
  )
}

default_name <- function(fit) {
  name <- gsub("[^A-Za-z0-9_-]+", "-", sub("[.]formula$", "", class(fit)[1]))
  if (nzchar(name)) substr(name, 1, 64) else "model"
}

formula_text <- function(fit) {
  formula <- tryCatch(stats::formula(fit), error = function(cond) NULL)
  if (is.null(formula)) class(fit)[1] else paste(c(class(fit)[1], deparse(formula, width.cutoff = 500L)), collapse = " ")
}

# The method's function; NULL of an S4 class, whose methods are not looked into.
predict_method <- function(fit) {
  for (each in class(fit)) {
    method <- utils::getS3method("predict", each, optional = TRUE)
    if (!is.null(method)) return(check_takes_newdata(method, fit))
  }
  if (!methods::existsMethod("predict", class(fit)[1])) {
    refuse("class ", class(fit)[1], " has no predict() method: load the package it comes from, or write score yourself")
  }
  NULL
}

check_takes_newdata <- function(method, fit) {
  second <- names(formals(args(method)))[2]
  if ("newdata" %in% names(formals(args(method))) || second %in% c("...", NA)) return(method)
  refuse(
    "predict() of class ", class(fit)[1], " takes `", second, "`, not `newdata`: write score yourself, as in ",
    "rdv_model(function(df) ..., inputs = ) with predict(fit, ", second, " = df), and take the values out of what it gives"
  )
}

# The types that a method lists in its declaration; empty if it does not say.
type_choices <- function(method) {
  default <- Filter(is.call, formals(args(method)))[["type"]]
  choices <- as.list(default)[-1]
  if (!identical(default[[1]], quote(c)) || !all(vapply(choices, is.character, NA))) return(character())
  unlist(choices)
}

# Arguments with the type, the best first.
types_to_try <- function(fit, method, type) {
  taken <- if (is.null(method)) "..." else names(formals(args(method)))
  choices <- if (is.null(method)) character() else type_choices(method)
  takes_type <- any(c("type", "...") %in% taken)
  if (is.null(type)) {
    is_other <- length(choices) > 0 && !"response" %in% choices
    return(c(if (takes_type && !is_other) list(list(type = "response")), list(list())))
  }
  check_one_text(type, "type")
  if (!takes_type) refuse("predict() of class ", class(fit)[1], " takes no `type`: leave it out")
  if (length(choices) && anyNA(pmatch(type, choices))) {
    given <- deparse(type, nlines = 1L)
    refuse("type is ", given, "; predict() of class ", class(fit)[1], " takes ", toString(dQuote(choices, FALSE)))
  }
  list(list(type = type))
}

# `zones`: time zones by column, so that hours and days are those of the training data.
predict_scorer <- function(fit, arguments, output, zones) {
  force(fit)
  force(arguments)
  force(output)
  force(zones)
  function(df) {
    for (each in intersect(names(zones), names(df))) attr(df[[each]], "tzone") <- zones[[each]]
    # By symbols, so that warnings and traces do not spell out the fit and the table.
    prediction <- eval(as.call(c(quote(stats::predict), quote(fit), list(newdata = quote(df)), arguments)))
    prediction_columns(prediction, nrow(df), output, class(fit)[1])
  }
}

# What predict() gave, as columns with one row for each.
prediction_columns <- function(prediction, rows, output, kind) {
  if (is.list(prediction) && !is.data.frame(prediction) && !is.null(prediction$fit)) prediction <- prediction$fit
  if (is.list(prediction) && !is.data.frame(prediction)) {
    stop("predict() of class ", kind, " gives a list (", toString(utils::head(names(prediction), 6L)), "), not one value ",
      "a row: write score yourself, as in rdv_model(function(df) predict(fit, df)$", names(prediction)[1],
      ", inputs = , outputs = )",
      call. = FALSE
    )
  }
  # Some methods drop the dimension of a single row.
  is_dropped <- rows == 1 && is.null(dim(prediction)) && length(prediction) > 1 && !is.null(names(prediction))
  if (is_dropped) prediction <- t(prediction)
  if (is.null(prediction) || NROW(prediction) != rows) {
    stop("predict() of class ", kind, " gives ", NROW(prediction), " values for ", rows, " rows: ",
      "it must give one for each (a formula with `$` or variables of another table does not see the rows)",
      call. = FALSE
    )
  }
  if (is.matrix(prediction) && !is.null(colnames(prediction))) return(as.data.frame(prediction))
  if (is.data.frame(prediction)) return(prediction)
  stats::setNames(list(plain(prediction)), output)
}

# Without names and attributes of a fit, which would be sent as nothing.
plain <- function(values) {
  if (is.factor(values) || inherits(values, c("Date", "POSIXct"))) return(unname(values))
  if (is.matrix(values) && ncol(values) > 1) return(unname(values))
  as.vector(values)
}

# The first way to call predict() that scores some rows of the training data.
first_that_scores <- function(scorers, fit, method, sample, columns) {
  failures <- character()
  for (score in scorers) {
    failure <- tryCatch(
      {
        try_scoring(score, sample, columns)
        NULL
      },
      error = conditionMessage
    )
    if (is.null(failure)) return(score)
    failures <- c(failures, failure)
  }
  choices <- if (is.null(method)) character() else type_choices(method)
  refuse(
    "predict() of class ", class(fit)[1], " cannot be served, tried on rows of its training data: ", failures[1],
    if (length(choices)) paste0(" (its types: ", toString(dQuote(choices, FALSE)), ")")
  )
}

# Several rows and one, as they come in a request.
try_scoring <- function(score, sample, columns) {
  for (rows in unique(c(nrow(sample), 1L))) {
    part <- sample[seq_len(rows), , drop = FALSE]
    raw <- rdv_encode(part, declared_types(columns, part))
    score(unwrap(frame_decode(raw, columns, TRUE)))
  }
}
