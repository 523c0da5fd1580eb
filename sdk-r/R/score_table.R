#' Scores a large table
#'
#' Cuts the table into chunks and sends them over `ScoreStream`, several at a time; the rows come back in their order. A
#' chunk that fails does not take the others along: its rows are `NA` in the result, and a warning tells which they are. A
#' chunk is tried again, with the same request id, after UNAVAILABLE and OVERLOADED, while there is time.
#'
#' @inheritParams rdv_client
#' @param chunk_rows Rows of a chunk, each a request: 1 to 1e7.
#' @param progress Whether to show a progress bar ([utils::txtProgressBar()], on standard output).
#' @param timeout Seconds after which what was sent and not answered is given up, retries included. Default: the client's.
#' @return A data.frame, one row for each row sent. `rdv_answer(result)$chunks` is a data.frame of what became of each
#'   chunk: `first_row`, `last_row`, `request_id`, `model`, `version`, `code` and `message` (empty: it was scored).
#' @section Errors:
#' The condition of the first chunk, naming its rows, where no chunk was scored; otherwise a warning of class
#' `rendezvous_chunks_failed`, whose `chunks` are those that failed.\cr
#' `rendezvous_invalid_request`: malformed arguments.\cr
#' `rendezvous_invalid_frame`: the table is empty, or cannot be encoded; chunks were answered with different columns.
#' @examples
#' \dontrun{
#' client <- rdv_client("127.0.0.1:8001", endpoint = "credit")
#' scores <- rdv_score_table(client, applicants, chunk_rows = 5000)
#' subset(rdv_answer(scores)$chunks, code != "")
#' }
#' @export
rdv_score_table <- function(client, df, chunk_rows = 1000, progress = interactive(), timeout = NULL, context = NULL,
                            traceparent = NULL) {
  check_client(client)
  chunk_rows <- check_range("chunk rows", whole_number(chunk_rows, "chunk rows"), 1, 1e7)
  timeout_s <- check_timeout(if (is.null(timeout)) client$timeout else timeout)
  context <- check_context(context)
  check_traceparent(traceparent)
  chunks <- chunks_of(row_count(df), chunk_rows)
  inputs <- described_inputs(client, now_s() + timeout_s)
  encode <- function(chunk) {
    part <- rows_at(df, seq(chunks$first_row[chunk], chunks$last_row[chunk]))
    request <- request_for(client, part, inputs, chunks$request_id[chunk], context, FALSE, NULL, FALSE, traceparent)
    structure(request, rows = nrow(part))
  }
  frames <- score_chunks(client, encode, nrow(chunks), timeout_s, progress_bar(progress, nrow(df)), chunks$last_row)
  chunks[c("model", "version", "code", "message")] <- chunk_facts(frames)
  tell_failures(frames, chunks)
  is_scored <- chunks$code == ""
  joined <- unwrap(frame_join(lapply(frames[is_scored], function(each) each$outputs)))
  table <- unwrap(frame_decode(joined, list(), client$int64_as_numeric))
  if (!all(is_scored)) table <- rows_at(table, places_of(chunks))
  as_answer(table, list(chunks = chunks))
}

chunk_time_s <- 0.5
most_chunks_at_once <- 64

row_count <- function(df) {
  if (!is.data.frame(df)) refuse("`df` is of class ", class(df)[1], ": give a data.frame")
  if (nrow(df) == 0) stop(rdv_error("INVALID_FRAME", "the table has no rows: give at least 1"))
  nrow(df)
}

chunks_of <- function(rows, chunk_rows) {
  first <- seq(1, rows, by = chunk_rows)
  data.frame(
    first_row = first, last_row = pmin(first + chunk_rows - 1, rows),
    request_id = vapply(first, function(each) make_id(), ""), stringsAsFactors = FALSE
  )
}

# A function that is told how many rows are done, and NULL at the end.
progress_bar <- function(is_wanted, rows) {
  if (!isTRUE(is_wanted)) return(function(done) invisible())
  bar <- utils::txtProgressBar(max = rows, style = 3)
  function(done) if (is.null(done)) close(bar) else utils::setTxtProgressBar(bar, done)
}

# As many chunks go over one call as take half a second, so that progress is seen and little waits in memory.
score_chunks <- function(client, encode, count, timeout_s, report, last_rows) {
  on.exit(report(NULL))
  answers <- vector("list", count)
  at_once <- 1
  at <- 1
  while (at <= count) {
    batch <- seq(at, min(count, at + at_once - 1))
    began <- now_s()
    answers[batch] <- score_batch(client, lapply(batch, encode), began + timeout_s)
    took <- max(now_s() - began, 1e-3)
    at_once <- max(1, min(most_chunks_at_once, 2 * at_once, floor(length(batch) * chunk_time_s / took)))
    at <- at + length(batch)
    report(last_rows[at - 1])
  }
  answers
}

# The answers of the requests, each a frame or a condition; those worth it are asked again until the deadline.
score_batch <- function(client, requests, deadline) {
  answers <- vector("list", length(requests))
  left <- seq_along(requests)
  pause <- first_pause_s
  repeat {
    answers[left] <- stream_once(client, requests[left], deadline)
    left <- left[vapply(answers[left], function(each) inherits(each, "rendezvous_error") && is_worth_retrying(each), NA)]
    if (length(left) == 0) return(answers)
    wait <- max(vapply(answers[left], pause_before_retry, 0, pause = pause))
    if (now_s() + wait >= deadline) return(answers)
    Sys.sleep(wait)
    pause <- min(pause * 2, last_pause_s)
  }
}

# A call that fails as a whole fails each of its requests.
stream_once <- function(client, requests, deadline) {
  left_ms <- max(least_attempt_ms, (deadline - now_s()) * 1000)
  given <- client_stream(client$pointer, requests, left_ms, client$int64_as_numeric, TRUE)
  if (inherits(given, "rdv_fault")) return(rep(list(condition_of(given)), length(requests)))
  lapply(seq_along(given), function(k) framed_answer(given[[k]], attr(requests[[k]], "rows")))
}

framed_answer <- function(answer, rows) {
  if (inherits(answer$outputs, "rdv_fault")) return(condition_of(answer$outputs))
  if (answer$rows == rows) return(answer)
  rdv_error("INVALID_OUTPUT", paste0("the answer has ", answer$rows, " rows, not ", rows))
}

chunk_facts <- function(answers) {
  texts <- function(of) vapply(answers, of, "")
  is_failed <- vapply(answers, inherits, NA, what = "rendezvous_error")
  list(
    model = texts(function(each) each$model %||% ""), version = texts(function(each) each$version %||% ""),
    code = ifelse(is_failed, texts(function(each) each$code %||% ""), ""),
    message = ifelse(is_failed, texts(function(each) each$message %||% ""), "")
  )
}

# An error where nothing was scored, a warning where something was not.
tell_failures <- function(answers, chunks) {
  failed <- which(chunks$code != "")
  if (length(failed) == 0) return(invisible())
  ranges <- sprintf("rows %.0f to %.0f (%s: %s)", chunks$first_row, chunks$last_row, chunks$code, chunks$message)[failed]
  if (length(failed) == nrow(chunks)) {
    error <- answers[[1]]
    error$message <- paste0("no row was scored; ", ranges[1])
    stop(error)
  }
  more <- if (length(failed) > 3) paste(" and", length(failed) - 3, "more")
  text <- paste0(
    length(failed), " of ", nrow(chunks), " chunks failed, their rows are NA: ",
    paste(utils::head(ranges, 3), collapse = "; "), more
  )
  warning(structure(
    class = c("rendezvous_chunks_failed", "warning", "condition"),
    list(message = text, call = NULL, chunks = chunks[failed, ])
  ))
}

# Where each row of the table is among those that were scored; NA: it was not.
places_of <- function(chunks) {
  is_scored <- rep(chunks$code == "", chunks$last_row - chunks$first_row + 1)
  ifelse(is_scored, cumsum(is_scored), NA_real_)
}

# Rows of a table by their number, of matrices and arrays too; NA gives missing values.
rows_at <- function(df, at) {
  columns <- lapply(as.list(df), function(column) {
    count <- length(dim(column))
    if (count < 2) return(column[at])
    do.call(`[`, c(list(column, at), rep(list(TRUE), count - 1), list(drop = FALSE)))
  })
  structure(columns, names = names(df), class = "data.frame", row.names = .set_row_names(length(at)))
}
