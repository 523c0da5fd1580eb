# What a fit tells of the variables of its formula.

# Variables by name: each a list of `values` (of the training data, NULL if they are not at hand) and `column` (NULL if its
# class is not known); without those that are no inputs. NULL if the fit has no terms.
fit_variables <- function(fit, given) {
  terms <- tryCatch(stats::delete.response(stats::terms(fit)), error = function(cond) NULL)
  if (is.null(terms)) return(NULL)
  call <- tryCatch(stats::getCall(fit), error = function(cond) NULL)
  # predict() evaluates the argument `offset` of the call again.
  variables <- unique(c(variables_in(terms[[length(terms)]]), if (is.call(call)) variables_in(call$offset)))
  sources <- sources_of(fit, terms, call, variables)
  found <- lapply(stats::setNames(variables, variables), function(variable) variable_of(variable, sources, given))
  Filter(Negate(is.null), found)
}

# Like all.vars(), but not what stands right of `$` and `@` and the arguments of functions made inside.
variables_in <- function(expression) {
  if (is.name(expression)) return(setdiff(as.character(expression), ""))
  if (!is.call(expression)) return(character())
  head <- if (is.name(expression[[1]])) as.character(expression[[1]]) else ""
  if (head %in% c("$", "@")) return(variables_in(expression[[2]]))
  if (head %in% c("::", ":::")) return(character())
  if (head == "function") return(setdiff(variables_in(expression[[3]]), names(expression[[2]])))
  unique(c(if (!nzchar(head)) variables_in(expression[[1]]), unlist(lapply(as.list(expression)[-1], variables_in))))
}

# Where variables may be found: the fit's own model frame, the data of its call, the formula's environment.
sources_of <- function(fit, terms, call, variables) {
  surroundings <- environment(terms)
  if (is.null(surroundings)) surroundings <- globalenv()
  data <- training_data(fit, call, surroundings)
  is_without <- is.call(call) && is.null(call$data)
  outside <- mget(variables, envir = surroundings, inherits = TRUE, ifnotfound = list(NULL))
  outside <- outside[!vapply(outside, is.function, NA)]
  lengths <- vapply(outside, NROW, 1L)
  list(
    frame = model_frame_of(fit), classes = attr(terms, "dataClasses"), levels = levels_of(fit), data = data,
    outside = if (is_without || !is.null(data)) outside,
    rows = if (is.null(data)) max(lengths, 0L) else nrow(data)
  )
}

# Only what the fit holds: the default method of model.frame() looks into the global environment.
model_frame_of <- function(fit) {
  frame <- if (is.list(fit)) unclass(fit)[["model"]] else NULL
  if (is.data.frame(frame)) return(frame)
  NULL
}

training_data <- function(fit, call, surroundings) {
  data <- if (is.list(fit)) unclass(fit)[["data"]] else NULL
  if (is.data.frame(data)) return(data)
  if (!is.call(call) || is.null(call$data)) return(NULL)
  data <- tryCatch(eval(call$data, surroundings), error = function(cond) NULL)
  if (is.environment(data)) return(NULL)
  tryCatch(as.data.frame(data, stringsAsFactors = FALSE), error = function(cond) NULL)
}

levels_of <- function(fit) {
  if (!is.list(fit)) return(NULL)
  bare <- unclass(fit)
  levels <- bare[["xlevels"]] %||% attr(fit, "xlevels")
  if (is.null(levels) && is.list(bare[["forest"]])) bare[["forest"]]$xlevels else levels
}

variable_of <- function(variable, sources, given) {
  kind <- if (variable %in% names(sources$classes)) sources$classes[[variable]] else NULL
  values <- sources$frame[[variable]]
  if (is.null(values)) values <- fitting(sources$data[[variable]], kind)
  is_outside <- is.null(values) && is.null(kind) && !variable %in% names(sources$data)
  if (is_outside && !is.null(sources$outside[[variable]])) {
    values <- sources$outside[[variable]]
    is_row_wise <- sources$rows > 1 && NROW(values) == sources$rows
    if (!is_row_wise && !variable %in% given) return(NULL)
    if (!is_row_wise) values <- NULL
  }
  column <- if (is.null(values)) column_of_kind(kind, sources$levels[[variable]]) else column_of_values(values)
  list(values = values, column = column)
}

# The data's values, unless the data is no longer what the model was trained on.
fitting <- function(values, kind) {
  if (is.null(values) || is.null(kind) || identical(stats::.MFclass(values), kind)) return(values)
  # Some fits keep text as a factor.
  if (kind == "factor" && is.character(values)) return(factor(values))
  NULL
}

column_of_values <- function(values) {
  shape <- dim(values)[-1]
  if (is.null(shape)) shape <- integer()
  if (inherits(values, "Date")) return(rdv_column("Date", allow_missing = TRUE))
  if (inherits(values, c("POSIXct", "POSIXlt"))) return(rdv_column("POSIXct", allow_missing = TRUE))
  if (is.factor(values)) return(rdv_column("factor", allow_missing = TRUE, levels = levels(values)))
  if (is.logical(values)) return(rdv_column("BOOL", shape = shape, allow_missing = TRUE))
  if (is.character(values)) return(rdv_column("STRING", shape = shape, allow_missing = TRUE))
  if (is.numeric(values)) return(rdv_column("numeric", shape = shape, allow_missing = TRUE, allow_nan = TRUE))
  NULL
}

# Of the class that the terms remember, where no values are at hand.
column_of_kind <- function(kind, levels) {
  if (is.null(kind)) return(NULL)
  if (grepl("^nmatrix[.]", kind)) return(column_of_values(matrix(0, 1, as.integer(sub("^nmatrix[.]", "", kind)))))
  if (kind %in% c("factor", "ordered")) return(if (is.null(levels)) NULL else column_of_values(factor(levels = levels)))
  switch(kind, logical = column_of_values(NA), character = column_of_values(""), numeric = column_of_values(0))
}

# The declared inputs: what was given goes before what was found.
declared_of_fit <- function(fit, known, inputs) {
  if (is.null(known) && is.null(inputs)) return(NULL)
  if (length(inputs) && (is.null(names(inputs)) || any(!nzchar(names(inputs))))) columns_of(inputs)
  names <- union(names(known), names(inputs))
  columns <- lapply(stats::setNames(names, names), function(name) {
    if (name %in% names(inputs)) return(inputs[[name]])
    column <- known[[name]]$column
    if (is.null(column)) refuse_unknown(fit, name, known[[name]]$values)
    column
  })
  Filter(Negate(is.null), columns)
}

refuse_unknown <- function(fit, name, values) {
  what <- if (is.null(values)) {
    "cannot be known: the formula has it inside of a call, and the training data is not at hand"
  } else {
    paste0("is ", class(values)[1], ", which has no type here")
  }
  refuse(
    "the class of variable '", name, "' of the formula ", what, ". Say it: rdv_model_predict(fit, inputs = list(", name,
    " = \"Date\")), or \"FP64\", \"STRING\", rdv_column(\"factor\", levels = ); NULL if it is no input",
    attributes = c(column = name)
  )
}

zones_of <- function(known) {
  moments <- Filter(function(each) inherits(each$values, "POSIXct"), known)
  Filter(Negate(is.null), lapply(moments, function(each) attr(each$values, "tzone")))
}

# Up to three rows of the training data without missing values; NULL if not all columns are at hand.
sample_of <- function(columns, known) {
  values <- lapply(known[names(columns)], function(each) each$values)
  if (length(values) == 0 || any(vapply(values, is.null, NA))) return(NULL)
  counts <- vapply(values, NROW, 1L)
  if (length(unique(counts)) != 1) return(NULL)
  values <- lapply(values, function(each) if (inherits(each, "POSIXlt")) as.POSIXct(each) else each)
  table <- structure(values, row.names = .set_row_names(counts[[1]]), class = "data.frame")
  rows <- utils::head(which(stats::complete.cases(table)), 3L)
  if (length(rows) == 0) NULL else table[rows, , drop = FALSE]
}
