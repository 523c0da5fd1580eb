#' Reports what turned out to be true
#'
#' Months after an answer: whether the loan was repaid, what an answer was worth, what an analyst says of it. All outcomes
#' of a call are kept, or, if one of them is wrong, none. It returns when they are on disk.
#'
#' Every argument but `client` and `timeout` may be a vector, with an element for each outcome; those of length one are
#' of all. The call is tried again, with the same ids, after UNAVAILABLE and OVERLOADED while there is time, and each
#' outcome counts once. To be sure of that over several calls, give `feedback_id`.
#'
#' @param client What [rdv_client()] gave.
#' @param value What is known: numbers, texts, factors or logicals.
#' @param kind `"truth"`: what a model had to predict. `"reward"`: how good the answer was, more is better. `"verdict"`:
#'   what a person says of it.
#' @param request_id Ids of the requests, `rdv_answer(answer)$request_id`.
#' @param key In place of ids: entries of the requests' `context`, named, as in `c(customer_id = "C-17")`.
#' @param row Rows of the requests, from 1, as R counts. Default, and where `NA`: all rows.
#' @param output Output columns. Default: of a truth, the first that such a value fits.
#' @param observed_at When it became known, `POSIXct` or `Date` (midnight UTC). Default: now. Of several outcomes for the
#'   same, the latest counts: a correction.
#' @param source Who says so.
#' @param feedback_id Ids of the reports, 1 to 64 of A-Z a-z 0-9 _ -; one that comes again counts once. Default: new ones.
#' @param timeout Deadline, seconds, retries included. Default: the client's.
#' @return The ids of the reports, in their order.
#' @section Errors:
#' `rendezvous_invalid_request`: an argument is malformed, or the endpoint has no such output, or the value does not fit
#' it; the attributes `outcome.<i>` of the condition, from 0, say what is wrong. Nothing was kept.\cr
#' `rendezvous_unavailable`: it is not known whether they were kept.\cr
#' `rendezvous_error`: the leaf condition of whatever else went wrong; see [rdv_error_codes()].
#' @examples
#' \dontrun{
#' rdv_record(client, value = 1, request_id = rdv_answer(answer)$request_id, row = 1, output = "default_probability")
#' rdv_record(client, closed$defaulted, key = stats::setNames(closed$customer, rep("customer_id", nrow(closed))),
#'            observed_at = closed$date, source = "collections")
#' }
#' @export
rdv_record <- function(client, value, kind = "truth", request_id = NULL, key = NULL, row = NULL, output = NULL,
                       observed_at = NULL, source = NULL, feedback_id = NULL, timeout = NULL) {
  deadline <- deadline_of(client, timeout)
  given <- list(value = value_of_outcome(value), kind = kind_of_outcome(kind), request_id = request_id, key = key,
                row = row_of_outcome(row), output = output, source = source, feedback_id = feedback_id,
                observed_unix_us = observed_of_outcome(observed_at))
  if (is.null(request_id) == is.null(key)) refuse("give `request_id` or `key`, one of them")
  sizes <- lengths(given)[lengths(given) > 0]
  count <- max(sizes)
  wrong <- names(sizes)[sizes != 1 & sizes != count][1]
  if (!is.na(wrong)) refuse("`", wrong, "` has ", sizes[[wrong]], " elements, others have ", count, ": give one or as many")
  outcomes <- list(
    value = rep_len(given$value, count),
    kind = rep_len(given$kind, count),
    request_id = texts_of(request_id, "request_id", count),
    key_name = texts_of(names_of_key(key), "key", count),
    key_value = texts_of(key, "key", count),
    row = rep_len(given$row %||% NA_integer_, count),
    output = texts_of(output, "output", count),
    source = texts_of(source, "source", count),
    feedback_id = if (is.null(feedback_id)) vapply(seq_len(count), function(i) make_id(), "") else
      texts_of(feedback_id, "feedback_id", count),
    observed_unix_us = rep_len(given$observed_unix_us %||% 0, count)
  )
  attempt(deadline, function(left_ms) client_record(client$pointer, client$endpoint, outcomes, left_ms))
}

outcome_kinds <- c(truth = 1L, reward = 2L, verdict = 3L)

kind_of_outcome <- function(kind) {
  if (!is.character(kind) || !all(kind %in% names(outcome_kinds))) {
    refuse("kind is ", shown(kind), ": it must be ", paste(names(outcome_kinds), collapse = ", "))
  }
  unname(outcome_kinds[kind])
}

value_of_outcome <- function(value) {
  if (is.factor(value)) value <- as.character(value)
  if (!(is.numeric(value) || is.character(value) || is.logical(value)) || length(value) == 0 || is.object(value)) {
    refuse("value is of class ", class(value)[1], ": it must be numbers, texts or logicals")
  }
  if (anyNA(value)) refuse("value ", which(is.na(value))[1], " is missing: leave out what is not known")
  if (is.character(value)) enc2utf8(value) else value
}

row_of_outcome <- function(row) {
  if (is.null(row)) return(NULL)
  wrong <- !is.numeric(row) || any(row < 1 | row != round(row) | row > .Machine$integer.max, na.rm = TRUE)
  if (wrong) refuse("row is ", shown(row), ": rows count from 1; leave it out for all rows")
  as.integer(row - 1)
}

observed_of_outcome <- function(observed_at) {
  if (is.null(observed_at)) return(NULL)
  if (inherits(observed_at, "Date")) return(as.numeric(observed_at) * 86400 * 1e6)
  if (!inherits(observed_at, "POSIXct") || anyNA(observed_at)) {
    refuse("observed_at is ", shown(observed_at), ": it must be of class POSIXct or Date, and not missing")
  }
  round(as.numeric(observed_at) * 1e6)
}

names_of_key <- function(key) {
  if (is.null(key)) return(NULL)
  if (is.null(names(key)) || any(!nzchar(names(key)))) {
    refuse("key is ", shown(key), ", without names: name each, as in key = c(customer_id = \"C-17\")")
  }
  names(key)
}

# As many texts; NA where there are none at all.
texts_of <- function(texts, what, count) {
  if (is.null(texts)) return(rep(NA_character_, count))
  if (!(is.character(texts) || is.numeric(texts) || is.factor(texts)) || anyNA(texts)) {
    refuse("`", what, "` is ", shown(texts), ": it must be texts, none missing")
  }
  rep_len(enc2utf8(as.character(texts)), count)
}
