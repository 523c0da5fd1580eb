# What this package and a served model say, as RENDEZVOUS_LOG_FORMAT and RENDEZVOUS_LOG_LEVEL want it.

start_logging <- function(options) {
  log_set(options)
  loaded$is_log_json <- identical(tolower(options$log_format), "json")
}

# Where logs are JSON, what the author's code says becomes lines of it; else R prints it as ever.
log_warning <- function(cond) {
  if (!isTRUE(loaded$is_log_json)) return()
  log_write("warning", log_text(cond))
  tryInvokeRestart("muffleWarning")
}

log_message <- function(cond) {
  if (!isTRUE(loaded$is_log_json)) return()
  log_write("info", log_text(cond))
  tryInvokeRestart("muffleMessage")
}

log_text <- function(cond) enc2utf8(sub("\n$", "", conditionMessage(cond)))

logged <- function(expression) withCallingHandlers(expression, warning = log_warning, message = log_message)
