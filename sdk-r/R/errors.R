#' The closed list of errors
#'
#' Every error of this package is a condition of class `rendezvous_error`, and of a leaf class for its code
#' (`rendezvous_invalid_frame`, `rendezvous_overloaded`, ...). It has the fields `message`, `code` (the name),
#' `attributes` (named character: the particulars, for programs) and `retryable`.
#'
#' @return A data.frame, one row a code: `code` (number), `name`, `class` (the condition's leaf class), `meaning`,
#'   `retryable`, `grpc_status`, `grpc_code`, `http_status`.
#' @section Source: docs/protocol.md, section "Errors" (P80 to P83).
#' @examples
#' rdv_error_codes()[, c("name", "retryable", "grpc_status")]
#' @export
rdv_error_codes <- function() {
  table <- error_table()
  cbind(table[c("code", "name")], class = leaf_class(table$name), table[setdiff(names(table), c("code", "name"))])
}

leaf_class <- function(name) paste0("rendezvous_", tolower(name))

#' Makes a condition of the closed list
#'
#' A model may raise one with `stop()`: it is answered as it is, where any other error is answered as MODEL_FAILED.
#'
#' @param code Name of the code, such as `"INVALID_REQUEST"`; see [rdv_error_codes()].
#' @param message For people: what, the value, the limit, what to do.
#' @param attributes Named character vector or list: the particulars, for programs.
#' @return A condition of class `rendezvous_error`.
#' @section Errors: `rendezvous_invalid_request`: there is no such code.
#' @examples
#' tryCatch(
#'   stop(rdv_error("TOO_LARGE", "the text has 3000 characters; the limit is 2000", c(limit = 2000))),
#'   rendezvous_error = function(e) e$code
#' )
#' @export
rdv_error <- function(code, message, attributes = character()) {
  facts <- error_facts[[code]]
  if (is.null(facts)) {
    refuse("error code ", dQuote(code, FALSE), " is unknown: see rdv_error_codes()")
  }
  structure(
    class = c(leaf_class(code), "rendezvous_error", "error", "condition"),
    list(
      message = message, call = NULL, code = code, retryable = facts$retryable,
      attributes = vapply(as.list(attributes), as.character, "")
    )
  )
}

# Facts by name, made once.
error_facts <- new.env(parent = emptyenv())

load_error_facts <- function() {
  table <- error_table()
  for (row in seq_len(nrow(table))) error_facts[[table$name[row]]] <- as.list(table[row, ])
}

refuse <- function(..., attributes = character()) {
  stop(rdv_error("INVALID_REQUEST", paste0(...), attributes))
}

# A condition of what the C++ core has refused. A code that is not in the list is INTERNAL.
condition_of <- function(fault) {
  table <- error_table()
  row <- match(fault$code, table$code)
  attributes <- fault$attributes
  if (is.na(row)) {
    attributes <- c(attributes, unknown_code = as.character(fault$code))
    row <- nrow(table)
  }
  rdv_error(table$name[row], fault$message, attributes)
}

# The value, or the condition raised.
unwrap <- function(value) {
  if (inherits(value, "rdv_fault")) stop(condition_of(value))
  value
}
