#' Calls an endpoint, or a model directly
#'
#' Router and model offer the same service: only the address differs. Make a client once and keep it; it connects when
#' it is first used and reconnects by itself. It must not be used in a fork of its process.
#'
#' Calls are tried again, with the same request id, after UNAVAILABLE and OVERLOADED while there is time, and not before a
#' server wants it (`retry-after-ms`). They can be interrupted with Ctrl-C. For a table of very many rows there is
#' [rdv_score_table()].
#'
#' @param address `"host:port"`, without a scheme.
#' @param endpoint Endpoint asked. Default: none, where only one is served.
#' @param timeout Deadline of a call that names none, seconds, retries included. More than a day, such as `Inf`, is
#'   a day.
#' @param max_message_bytes Largest gRPC message.
#' @param int64 As what INT64 and UINT64 come, see [rdv_encode()].
#' @param key The key (`rendezvous key add` makes it). Default: `RENDEZVOUS_KEY`, or the file that `RENDEZVOUS_KEY_FILE`
#'   names; else none. The client does not print it.
#' @param ca PEM file of the authority that the server's certificate is checked against. Default: `RENDEZVOUS_CA`, else
#'   the system's authorities.
#' @param cert,cert_key PEM files: the caller's own certificate chain and its private key, for mutual TLS. Default:
#'   `RENDEZVOUS_CERT` and `RENDEZVOUS_CERT_KEY`.
#' @param tls Whether to use TLS; `FALSE`: never. Default: `RENDEZVOUS_TLS`; and where `ca` or `cert` is given.
#' @param insecure Whether the key may be sent to another machine without TLS. Default: `RENDEZVOUS_INSECURE`.
#' @param client What `rdv_client()` gave.
#' @param df A data.frame or named list of columns, see [rdv_encode()]. Columns are sent with the types that the endpoint
#'   declares, where nothing is lost.
#' @param request_id 1 to 64 of A-Z a-z 0-9 _ -. Default: a new one.
#' @param context Named character or list of texts: for policies, sticky keys and the like.
#' @param explain Whether the decision's particulars and every model's score are wanted too, see [rdv_answer()].
#' @param force_model Model whose score is wanted, whatever the policy says.
#' @param force_trace Whether the request is to be traced, whatever the sampling says.
#' @param traceparent W3C trace context that the request belongs to. Default: none; the answer's
#'   `rdv_answer(answer)$trace_id` tells of which trace it became.
#' @param tables List of tables, each a request.
#' @param refresh Whether to ask again: the answer to `rdv_describe` is remembered.
#' @return `rdv_client`: an object of class `rdv_client`. `rdv_score`: a data.frame, one row for each row sent;
#'   [rdv_answer()] tells more. `rdv_stream`: a list of such, in the order of the tables; a request that failed has its
#'   condition (class `rendezvous_error`) in its place. `rdv_describe`: a list: `name`, `version`, `language`,
#'   `runtime`, `inputs`, `outputs` (each column a list), `task`, `labels`, `source_control`, `training`, `packages`,
#'   `description`, `sdk`.
#' @section Errors:
#' `rendezvous_invalid_request`: a malformed address, timeout, name, context, key or certificate; a key that would leave
#' this machine without TLS; a client that was saved and read back.\cr
#' `rendezvous_unauthenticated`, `rendezvous_permission_denied`: no key, a wrong one, one that is not good for this.\cr
#' `rendezvous_invalid_frame`: the table cannot be encoded.\cr
#' `rendezvous_no_answer`: no answer by the deadline.\cr
#' `rendezvous_error`: the leaf condition of whatever else went wrong; see [rdv_error_codes()].
#' @examples
#' \dontrun{
#' client <- rdv_client("127.0.0.1:8001", endpoint = "credit")
#' remote <- rdv_client("scores.example.org:8001", endpoint = "credit", ca = "ca.pem") # the key: RENDEZVOUS_KEY
#' answer <- rdv_score(client, data.frame(duration_months = c(12L, 48L)), timeout = 0.5)
#' answer$default_probability
#' rdv_answer(answer)$model
#' rdv_stream(client, split(applicants, applicants$branch))
#' }
#' @export
rdv_client <- function(address, endpoint = NULL, timeout = 10, max_message_bytes = 4 * 1024^2,
                       int64 = c("numeric", "integer64"), key = NULL, ca = NULL, cert = NULL, cert_key = NULL,
                       tls = NULL, insecure = NULL) {
  check_address(address)
  if (!is.null(endpoint)) check_one_text(endpoint, "endpoint")
  check_timeout(timeout)
  limit <- check_range("max message bytes", whole_number(max_message_bytes, "max message bytes"), 1024, 512 * 1024^2)
  check_not_forked()
  security <- security_of(key, ca, cert, cert_key, tls)
  check_key_is_safe(security, host_of(address), insecure)
  client <- new.env(parent = emptyenv())
  client$address <- address
  client$endpoint <- if (is.null(endpoint)) "" else endpoint
  client$timeout <- timeout
  client$int64_as_numeric <- match.arg(int64) == "numeric"
  client$pointer <- unwrap(client_make(address, as.integer(limit), security))
  structure(client, class = "rdv_client")
}

#' @rdname rdv_client
#' @export
rdv_score <- function(client, df, timeout = NULL, request_id = NULL, context = NULL, explain = FALSE,
                      force_model = NULL, force_trace = FALSE, traceparent = NULL) {
  deadline <- deadline_of(client, timeout)
  request <- request_for(client, df, described_inputs(client, deadline), request_id, context, explain, force_model,
                         force_trace, traceparent)
  answer_of(attempt(deadline, function(left_ms) client_score(client$pointer, request, left_ms, client$int64_as_numeric)))
}

#' @rdname rdv_client
#' @export
rdv_stream <- function(client, tables, timeout = NULL, context = NULL, traceparent = NULL) {
  check_client(client)
  if (is.data.frame(tables) || !is.list(tables)) refuse("`tables` must be a list of tables")
  context <- check_context(context)
  check_traceparent(traceparent)
  limit_ms <- if (is.null(timeout)) 0 else check_timeout(timeout) * 1000
  inputs <- described_inputs(client, deadline_of(client, NULL))
  requests <- lapply(tables, function(df) {
    tryCatch(request_for(client, df, inputs, NULL, context, FALSE, NULL, FALSE, traceparent), rendezvous_error = identity)
  })
  is_sent <- !vapply(requests, inherits, NA, what = "rendezvous_error")
  answers <- requests
  if (any(is_sent)) {
    given <- unwrap(client_stream(client$pointer, unname(requests[is_sent]), limit_ms, client$int64_as_numeric, FALSE))
    answers[is_sent] <- lapply(given, answer_of)
  }
  stats::setNames(answers, names(tables))
}

#' @rdname rdv_client
#' @export
rdv_describe <- function(client, timeout = NULL, refresh = FALSE) {
  check_client(client)
  if (refresh || is.null(client$info)) {
    client$info <- attempt(
      deadline_of(client, timeout),
      function(left_ms) client_describe(client$pointer, client$endpoint, left_ms)
    )
  }
  client$info
}

#' @export
print.rdv_client <- function(x, ...) {
  cat("<rdv_client of ", x$address, if (nzchar(x$endpoint)) paste0(", endpoint ", x$endpoint), ">\n", sep = "")
  invisible(x)
}

first_pause_s <- 0.02
last_pause_s <- 1
least_attempt_ms <- 1

longest_timeout_s <- 86400

# One text that is neither NA nor empty.
check_one_text <- function(value, what) {
  if (is.character(value) && length(value) == 1 && !is.na(value) && nzchar(value)) return(value)
  refuse("`", what, "` is ", shown(value), ": it must be one text")
}

shown <- function(value) deparse(value, nlines = 1L, width.cutoff = 60L)[1]

check_address <- function(address) {
  wrong <- function(why) {
    refuse("address is ", shown(address), ", ", why, ": write it as host:port, such as \"127.0.0.1:8001\"")
  }
  if (!is.character(address) || length(address) != 1 || is.na(address)) wrong("which is not one text")
  if (!nzchar(address)) wrong("which is empty")
  if (grepl("://", address, fixed = TRUE)) wrong(paste0("with the scheme '", sub(":.*", "", address), "'"))
  if (grepl("[[:space:]/]", address)) wrong("which has a space or a slash")
  if (grepl("^[^[]*:.*:", address)) wrong("which has several colons (an IPv6 address needs brackets, as in [::1]:8001)")
  if (!grepl(":", sub("^\\[.*\\]", "", address), fixed = TRUE)) wrong("without a port")
  if (startsWith(address, ":")) wrong("without a host")
  port <- sub(".*:", "", address)
  if (!grepl("^[0-9]{1,5}$", port) || as.numeric(port) < 1 || as.numeric(port) > 65535) {
    wrong(paste0("with the port '", port, "', which is not one of 1 to 65535"))
  }
}

# Seconds; what is longer than a day, such as Inf, is a day.
check_timeout <- function(timeout) {
  if (!is.numeric(timeout) || length(timeout) != 1 || is.na(timeout) || timeout <= 0) {
    refuse("timeout is ", shown(timeout), ": it must be one number of seconds, more than 0")
  }
  min(timeout, longest_timeout_s)
}

check_client <- function(client) {
  if (!inherits(client, "rdv_client")) refuse("`client` is of class ", class(client)[1], ": give an rdv_client()")
  if (!identical(client$pointer, methods::new("externalptr"))) return(invisible())
  refuse(
    "this client was saved and read back, and connections cannot be saved: make one here, with rdv_client(\"",
    client$address, "\")"
  )
}

check_context <- function(context) {
  if (length(context) == 0) return(character())
  names <- names(context)
  if (is.null(names) || anyNA(names) || any(!nzchar(names))) {
    refuse("context is ", shown(context), ", without names: name each of its texts, as in context = c(branch = \"b\")")
  }
  is_one <- vapply(context, function(each) is.atomic(each) && length(each) == 1 && !is.na(each), NA)
  wrong <- which(!is_one)[1]
  if (!is.na(wrong)) refuse("context '", names[wrong], "' is ", shown(context[[wrong]]), ": it must be one text")
  vapply(context, as.character, "")
}

now_s <- function() as.numeric(Sys.time())

deadline_of <- function(client, timeout) {
  check_client(client)
  now_s() + check_timeout(if (is.null(timeout)) client$timeout else timeout)
}

# Calls until it succeeds, the error is final, or there is no time for another attempt.
attempt <- function(deadline, call) {
  pause <- first_pause_s
  repeat {
    result <- call(max(least_attempt_ms, (deadline - now_s()) * 1000))
    if (!inherits(result, "rdv_fault")) return(result)
    error <- condition_of(result)
    wait <- pause_before_retry(error, pause)
    if (!is_worth_retrying(error) || now_s() + wait >= deadline) stop(error)
    Sys.sleep(wait)
    pause <- min(pause * 2, last_pause_s)
  }
}

# NO_ANSWER means that the time for an answer is over.
is_worth_retrying <- function(error) error$retryable && error$code != "NO_ANSWER"

# Half to one and a half of the pause, by chance, so that clients that failed together do not come back together; and as
# long as the server asks for.
pause_before_retry <- function(error, pause) {
  hint_ms <- suppressWarnings(as.numeric(error$attributes["retry_after_ms"]))
  max(if (is.na(hint_ms)) 0 else hint_ms / 1000, pause * (0.5 + random_share()))
}

# 0 to 1, without R's random numbers: those are the caller's.
random_share <- function() strtoi(substr(make_id(), 30, 36), 16L) / 16^7

described_inputs <- function(client, deadline) {
  if (is.null(client$info)) {
    client$info <- tryCatch(
      rdv_describe(client, timeout = max(0.001, deadline - now_s())),
      rendezvous_unimplemented = function(cond) list(inputs = list())
    )
  }
  client$info$inputs
}

# The declared types of the columns that the table has.
declared_types <- function(inputs, df) {
  types <- vapply(inputs, function(column) column$type, "")
  names(types) <- vapply(inputs, function(column) column$name, "")
  if (is.null(df)) types else types[names(types) %in% names(df)]
}

request_for <- function(client, df, inputs, request_id, context, explain, force_model, force_trace = FALSE,
                        traceparent = NULL) {
  if (!is.null(request_id)) unwrap(name_check("request id", check_one_text(request_id, "request_id")))
  if (!is.null(force_model)) check_one_text(force_model, "force_model")
  list(
    request_id = if (is.null(request_id)) make_id() else request_id,
    endpoint = client$endpoint,
    frame = rdv_encode(df, declared_types(inputs, df)),
    context = check_context(context),
    explain = isTRUE(explain),
    force_model = force_model %||% "",
    force_trace = isTRUE(force_trace),
    traceparent = check_traceparent(traceparent)
  )
}

check_traceparent <- function(traceparent) {
  if (is.null(traceparent)) return("")
  if (is_valid_traceparent(check_one_text(traceparent, "traceparent"))) return(traceparent)
  refuse(
    "traceparent is ", shown(traceparent), ": it must be as W3C has it, 00-<32 hex>-<16 hex>-<2 hex>, not all 0"
  )
}

`%||%` <- function(left, right) if (is.null(left)) right else left

# The rows with what is known of them; of a failure its condition.
answer_of <- function(answer) {
  if (inherits(answer$outputs, "rdv_fault")) return(condition_of(answer$outputs))
  facts <- answer$facts
  facts$trace_id <- if (is_valid_traceparent(facts$traceparent)) substr(facts$traceparent, 4, 35) else ""
  facts$scores <- lapply(facts$scores, with_condition)
  if (!is.null(facts$decision)) facts$decision$arrivals <- lapply(facts$decision$arrivals, with_condition)
  as_answer(answer$outputs, facts)
}

with_condition <- function(entry) {
  if (!is.null(entry$error)) entry$error <- condition_of(entry$error)
  entry
}
