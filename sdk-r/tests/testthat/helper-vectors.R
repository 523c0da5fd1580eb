# Loads the conformance vectors: from RENDEZVOUS_VECTORS, else from the checkout around the working folder.

vectors_folder <- function() {
  folder <- Sys.getenv("RENDEZVOUS_VECTORS", "")
  if (nzchar(folder)) return(folder)
  here <- normalizePath(".")
  while (here != dirname(here)) {
    candidate <- file.path(here, "proto", "vectors")
    if (file.exists(file.path(candidate, "schema.json"))) return(candidate)
    here <- dirname(here)
  }
  NULL
}

# The cases of a topic; skips the test where there are no vectors.
vectors <- function(topic, kind = NULL) {
  folder <- vectors_folder()
  skip_if(is.null(folder), "no conformance vectors: set RENDEZVOUS_VECTORS")
  skip_if_not_installed("jsonlite")
  text <- paste(readLines(file.path(folder, paste0(topic, ".json")), encoding = "UTF-8"), collapse = "\n")
  # R's strings cannot hold the character NUL; what has one is marked, and must be refused.
  cases <- jsonlite::fromJSON(gsub("\\u0000", nul_mark, text, fixed = TRUE), simplifyVector = FALSE)$cases
  if (is.null(kind)) cases else Filter(function(case) case$kind %in% kind, cases)
}

nul_mark <- "<NUL>"

unhex <- function(text) {
  if (!nzchar(text)) return(raw())
  starts <- seq(1, nchar(text), 2)
  as.raw(strtoi(substring(text, starts, starts + 1), 16L))
}

hex <- function(octets) paste(as.character(octets), collapse = "")

# One element of a vector's value as R has it.
element <- function(type, value) {
  if (type == "BYTES") return(unhex(value))
  if (type %in% c("INT64", "UINT64")) return(bit64::as.integer64(as.character(value)))
  if (startsWith(type, "FP")) return(if (is.character(value)) as.numeric(sub("Infinity", "Inf", value)) else as.numeric(value))
  if (type == "STRING") return(value)
  if (type == "BOOL") as.logical(value) else as.numeric(value)
}

leaves <- function(value) if (is.list(value)) unlist(lapply(value, leaves), recursive = FALSE) else list(value)

# A vector's column as R's: elements in row-major order, put where R has them; NA where the row is missing.
r_column <- function(column) {
  shape <- unlist(column$shape)
  rows <- length(column$values)
  count <- if (length(shape)) prod(shape) else 1
  blank <- switch(column$type, BYTES = list(NULL), STRING = NA_character_, BOOL = NA,
    INT64 = , UINT64 = bit64::NA_integer64_, NA_real_
  )
  cells <- rep(blank, rows * count)
  places <- array(seq_len(rows * count), c(count, rows))
  for (row in seq_len(rows)) {
    if (is.null(column$values[[row]])) next
    parts <- lapply(leaves(column$values[[row]]), element, type = column$type)
    for (k in seq_along(parts)) {
      if (column$type == "BYTES") cells[places[k, row]] <- parts[k] else cells[places[k, row]] <- parts[[k]]
    }
  }
  if (!length(shape)) return(cells)
  # Row-major with rows first is R's order of the reversed dimensions.
  order <- aperm(array(seq_along(cells), rev(c(rows, shape))))
  made <- cells[as.vector(order)]
  class_of <- oldClass(made)
  dim(made) <- c(rows, shape)
  if (!is.null(class_of)) oldClass(made) <- class_of
  missing <- vapply(column$values, is.null, NA)
  if (count == 0 && any(missing)) attr(made, "rdv_missing") <- missing
  made
}

# Whether R can hold the case; see rdv_encode().
is_holdable <- function(case) {
  all(vapply(case$columns, function(column) {
    values <- unlist(leaves(column$values))
    !(column$type == "INT64" && "-9223372036854775808" %in% values) &&
      !(column$type == "UINT64" && any(nchar(values) > 19 | (nchar(values) == 19 & values > "9223372036854775807"))) &&
      !(column$type == "STRING" && any(grepl(nul_mark, c(values, column$name), fixed = TRUE)))
  }, NA))
}
