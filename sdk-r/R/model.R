#' Declares a model
#'
#' @param score Function of one argument, the table: a data.frame with the rows of one or many requests. It gives one
#'   row for each, in their order: a data.frame, a named list of columns, or, where the outputs are named, a vector or
#'   a matrix. What it may do with `NA`, factors and time: see [rdv_encode()].
#' @param inputs Columns that it takes: a named vector or list of types (`c(amount = "FP64", purpose = "STRING")`) and
#'   [rdv_column()]s. Others are left out, these are checked. `"Date"` and `"POSIXct"` are taken as INT64 and come as
#'   such. Default: not declared, anything is taken.
#' @param outputs Columns that it gives, likewise; or their names alone. With types, every table that it gives is
#'   checked against them and converted where nothing is lost. Default: not declared.
#' @param setup Function without arguments, called once before the first table. Default: none.
#' @param close Function without arguments, called once after the last table. Default: none.
#' @param name Name of the model: 1 to 64 of A-Z a-z 0-9 _ -. Default: `"model"`.
#' @param task `"classification"`, `"regression"`, ...
#' @param labels Labels of a classification, in order.
#' @param training List of `data_reference`, `data_sha256`, `trained` (POSIXct) and `metrics` (named numeric).
#' @param description For people.
#' @param int64 As what INT64 and UINT64 come to `score`, see [rdv_encode()].
#' @return An object of class `rdv_model`, for [rdv_serve()] and [rdv_postbox()].
#' @section Errors: `rendezvous_invalid_request`: `score` is no function of one argument, or a column is declared wrongly.
#' @section Thread safety: `setup`, `score` and `close` are called in R's one thread.
#' @examples
#' model <- rdv_model(
#'   score = function(df) data.frame(risk = plogis(df$duration_months / 12 - 2)),
#'   inputs = c(duration_months = "INT64"),
#'   outputs = c(risk = "FP64"),
#'   name = "logit"
#' )
#' box <- rdv_postbox(model)
#' box$score(data.frame(duration_months = c(12L, 48L)))
#' @export
rdv_model <- function(score, inputs = NULL, outputs = NULL, setup = NULL, close = NULL, name = "model", task = "",
                      labels = character(), training = NULL, description = "", int64 = c("numeric", "integer64")) {
  check_function(score, "score", 1)
  if (!is.null(setup)) check_function(setup, "setup", 0)
  if (!is.null(close)) check_function(close, "close", 0)
  unwrap(name_check("model", as.character(name)))
  model <- structure(
    list(
      score = score, setup = setup, close = close, name = as.character(name),
      inputs = columns_of(inputs), outputs = columns_of(outputs, names_alone = TRUE),
      task = task, labels = as.list(as.character(labels)), training = training_of(training), description = description,
      int64_as_numeric = match.arg(int64) == "numeric"
    ),
    class = "rdv_model"
  )
  unwrap(info_check(model_info(model, "1")))
  model
}

#' One declared column
#'
#' @param type Type of the elements: `"BOOL"`, `"INT8"` to `"INT64"`, `"UINT8"` to `"UINT64"`, `"FP16"`, `"FP32"`,
#'   `"FP64"`, `"STRING"`, `"BYTES"`; or `"Date"`, `"POSIXct"` (INT64 on the wire), `"factor"` (STRING on the wire) and
#'   `"numeric"` (declared as FP64, of inputs any type of numbers is taken).
#' @param shape Dimensions of one row's value. Default: a scalar.
#' @param allow_missing Whether rows may be missing.
#' @param allow_nan Whether floating-point elements may be NaN or infinite.
#' @param description For people.
#' @param levels Of a `"factor"`: its levels, in order; a label that is none of them is refused.
#' @return A list for [rdv_model()].
#' @examples
#' rdv_column("FP64", shape = 3, allow_missing = TRUE)
#' rdv_column("factor", levels = c("car", "radio/TV"))
#' @export
rdv_column <- function(type = "", shape = integer(), allow_missing = FALSE, allow_nan = FALSE, description = "",
                       levels = NULL) {
  wire <- switch(type, Date = , POSIXct = "INT64", factor = "STRING", numeric = "FP64", type)
  list(
    type = wire, shape = as.numeric(shape), allow_missing = isTRUE(allow_missing), allow_nan = isTRUE(allow_nan),
    description = description, levels = levels, time = if (type %in% c("Date", "POSIXct")) type else "", any_number = type == "numeric"
  )
}

check_function <- function(value, what, arguments) {
  if (!is.function(value)) refuse("`", what, "` is of class ", class(value)[1], ": give a function")
  formal <- formals(args(value))
  needed <- vapply(formal, function(each) is.symbol(each) && !nzchar(as.character(each)), NA)
  needed <- sum(needed[setdiff(names(formal), "...")])
  if (needed > arguments || (arguments > 0 && length(formal) == 0)) {
    refuse("`", what, "` takes ", needed, " arguments: it must take ", arguments)
  }
}

# Declared columns in one form: a list of lists with `name`.
columns_of <- function(columns, names_alone = FALSE) {
  if (is.null(columns)) return(list())
  if (names_alone && is.character(columns) && is.null(names(columns))) {
    columns <- stats::setNames(rep(list(""), length(columns)), columns)
  }
  if (is.null(names(columns)) || any(!nzchar(names(columns)))) {
    refuse("columns need names and types, as in inputs = c(income = \"FP64\")")
  }
  Map(function(name, column) {
    if (is.character(column)) column <- rdv_column(column)
    if (!names_alone && !nzchar(column$type)) refuse("column '", name, "' needs a type, as in rdv_column(\"FP64\")")
    c(list(name = name), column)
  }, names(columns), as.list(columns)) |> unname()
}

training_of <- function(training) {
  if (is.null(training)) return(NULL)
  known <- c("data_reference", "data_sha256", "trained", "trained_unix_us", "metrics")
  unknown <- setdiff(names(training), known)
  if (length(unknown)) refuse("training has the unknown field '", unknown[1], "': use ", toString(known))
  training <- as.list(training)
  if (!is.null(training$trained)) training$trained_unix_us <- round(as.numeric(training$trained) * 1e6)
  if (!is.null(training$metrics)) training$metrics <- as.list(training$metrics)
  training
}

as_model <- function(model) {
  if (inherits(model, "rdv_model")) return(model)
  if (is.function(model)) return(rdv_model(model))
  refuse("`model` is of class ", class(model)[1], ": give an rdv_model() or a function of one table")
}

# The author's function as the C++ core calls it: the value in a list of one; of a failure its kind, message, code (0:
# the author's own), attributes and trace; NULL of an interrupt.
evaluator <- function(model) {
  score <- model$score
  function(df) {
    trace <- ""
    tryCatch(
      withCallingHandlers(list(not_null(score(df))),
        error = function(cond) trace <<- trace_of(sys.calls()), warning = log_warning, message = log_message
      ),
      error = function(cond) failure_of(cond, trace),
      interrupt = function(cond) NULL
    )
  }
}

not_null <- function(value) {
  if (!is.null(value)) return(value)
  stop(rdv_error("INVALID_OUTPUT", "the model gave NULL: give a table of as many rows as it got"))
}

failure_of <- function(cond, trace) {
  message <- tryCatch(paste(as.character(conditionMessage(cond)), collapse = " "), error = function(other) "")
  message <- enc2utf8(iconv(enc2utf8(message), "UTF-8", "UTF-8", sub = "?"))
  if (!inherits(cond, "rendezvous_error")) return(list(class(cond)[1], message, 0L, character(), trace))
  code <- error_facts[[cond$code]]$code
  list(class(cond)[1], message, code, unlist(cond$attributes), trace)
}

# The innermost calls of an error, without those of the machinery.
trace_of <- function(calls) {
  texts <- vapply(calls, function(call) deparse(call, nlines = 1L)[1], "")
  ours <- grep("withCallingHandlers(list(not_null(score(df)))", texts, fixed = TRUE)
  if (length(ours)) texts <- texts[-seq_len(max(ours))]
  texts <- texts[!grepl("^(\\.handleSimpleError|h\\(simpleError|\\(function \\(cond\\)|trace_of)", texts)]
  paste0("  ", utils::tail(texts, 8L), collapse = "\n")
}
