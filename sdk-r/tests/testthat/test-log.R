# The log of a model program.

code <- "rdv_serve(rdv_model(function(df) {
  message('looking \"it\" up\n\u00fc')
  if (2 %in% df$x) warning('doubtful')
  if (3 %in% df$x) stop('three is bad')
  list(y = df$x)
}, setup = function() message('set up')), name = 'm', version = '7')"

lines_of <- function(program) strsplit(printed(program, "err"), "\n")[[1]]

test_that("as JSON, each line is an object that tells what it is about, the author's messages and warnings too", {
  site <- start_site(code, c(RENDEZVOUS_LOG_FORMAT = "json", RENDEZVOUS_LOG_LEVEL = "info"))
  tables <- lapply(list(list(x = 3), list(x = 2)), rdv_encode)
  traceparent <- "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
  parcel <- unwrap(box_parcel(tables, "e", now_s() * 1e6, 60e6, traceparent))
  wire_request(site$wire, "rv.e.input", parcel, 2000)
  id <- box_parcel_facts(parcel)$parcel_id
  score <- score_of(site, id)
  expect_identical(vapply(score$items, function(item) item$traceparent, ""), c(traceparent, traceparent))
  expect_true(with(score$timing, received_unix_us <= started_unix_us && started_unix_us <= finished_unix_us))
  end_program(site$model, tools::SIGTERM)
  exit_status(site$model)

  lines <- lapply(lines_of(site$model), jsonlite::fromJSON)
  event <- vapply(lines, function(line) line$event, "")
  for (line in lines) {
    expect_match(line$time, "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[.][0-9]{6}Z$")
    expect_true(line$level %in% c("info", "warning"))
    expect_identical(line[c("logger", "endpoint", "model", "version")], list(logger = "rendezvous", endpoint = "e", model = "m", version = "7"))
    expect_match(site$model$ready, line$replica, fixed = TRUE)
  }
  expect_identical(event[1], "set up")
  expect_true("looking \"it\" up\n\u00fc" %in% event)
  expect_identical(lines[[match("doubtful", event)]]$level, "warning")
  failed <- lines[[grep("failed on one request", event)]]
  expect_identical(
    failed[c("level", "trace_id", "request_id", "parcel_id", "error_code")],
    list(
      level = "warning", trace_id = substr(traceparent, 4, 35), request_id = score$items[[1]]$request_id,
      parcel_id = id, error_code = "MODEL_FAILED"
    )
  )
  expect_match(failed$exception, "three is bad")
  expect_match(event[length(event)], "draining", all = FALSE)
})

test_that("as text, lines are for people, and R prints messages and warnings itself", {
  site <- start_site(code)
  score_of(site, send_parcel(site, list(x = 3)))
  failed <- grep("failed on one request", lines_of(site$model), value = TRUE)
  expect_match(failed, "^[0-9-]{10} [0-9:,]{12} WARNING rendezvous: model m:7 failed on one request: MODEL_FAILED: ")
  expect_true("set up" %in% lines_of(site$model))
})

test_that("only what is wanted is logged", {
  site <- start_site(code, c(RENDEZVOUS_LOG_FORMAT = "json", RENDEZVOUS_LOG_LEVEL = "error"))
  score_of(site, send_parcel(site, list(x = 3)))
  expect_identical(printed(site$model, "err"), "")
})
