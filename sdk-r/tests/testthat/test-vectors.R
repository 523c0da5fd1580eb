valid <- function() c(vectors("frames", "valid"), vectors("missing", "valid"))

same_values <- function(actual, expected, name) {
  if (bit64::is.integer64(expected)) {
    return(expect_identical(as.character(actual), as.character(expected), label = name))
  }
  if (is.list(expected) || is.character(expected) || is.logical(expected)) return(expect_identical(actual, expected, label = name))
  expect_identical(dim(actual), dim(expected), label = name)
  expect_identical(is.na(actual), is.na(expected), label = name)
  expect_identical(is.nan(actual), is.nan(expected), label = name)
  expect_identical(as.numeric(actual)[!is.na(actual)], as.numeric(expected)[!is.na(expected)], label = name)
  expect_identical(1 / as.numeric(actual[actual %in% 0]), 1 / as.numeric(expected[expected %in% 0]), label = name)
}

test_that("valid frames are read: rows, names, values, missing rows", {
  for (case in Filter(is_holdable, valid())) {
    table <- rdv_decode(unhex(case$wire))
    expect_equal(nrow(table), case$rows, info = case$name)
    expect_identical(names(table), as.character(vapply(case$columns, `[[`, "", "name")), info = case$name)
    for (column in case$columns) same_values(table[[column$name]], r_column(column), paste(case$name, column$name))
  }
})

test_that("what R cannot hold is refused, naming the column", {
  cases <- Filter(Negate(is_holdable), valid())
  expect_gt(length(cases), 3)
  for (case in cases) {
    error <- expect_error(rdv_decode(unhex(case$wire)), class = "rendezvous_signature_mismatch", info = case$name)
    expect_true(error$attributes[["column"]] %in% vapply(case$columns, `[[`, "", "name"), info = case$name)
  }
})

test_that("tables are written as the vectors have them, octet by octet", {
  for (case in Filter(is_holdable, valid())) {
    columns <- lapply(case$columns, r_column)
    names(columns) <- vapply(case$columns, `[[`, "", "name")
    types <- vapply(case$columns, `[[`, "", "type")
    names(types) <- names(columns)
    if (length(columns) == 0) next
    expect_identical(hex(rdv_encode(columns, types)), case$wire, info = case$name)
  }
})

test_that("a frame read by R and written again is the same frame", {
  for (case in Filter(is_holdable, valid())) {
    types <- vapply(case$columns, `[[`, "", "type")
    names(types) <- vapply(case$columns, `[[`, "", "name")
    expect_identical(hex(rdv_encode(rdv_decode(unhex(case$wire)), types)), case$wire, info = case$name)
  }
})

test_that("frames that contradict themselves are refused, naming the column", {
  for (case in vectors("frames", "invalid")) {
    error <- expect_error(rdv_decode(unhex(case$wire)), class = leaf_class(case$error), info = case$name)
    expect_identical(unname(c(error$attributes["column"], "")[1]) %in% c(case$column, NA), TRUE, info = case$name)
    expect_match(conditionMessage(error), case$column, fixed = TRUE, info = case$name)
  }
})

test_that("every NaN is NaN and none is NA, whatever its bits", {
  for (case in vectors("nans")) {
    x <- rdv_decode(unhex(case$wire))$x
    missing <- unlist(case$missing)
    expect_identical(is.na(x) & !is.nan(x), missing, info = case$name)
    expect_identical(is.nan(x), unlist(case$nan), info = case$name)
  }
})

test_that("slices, joins and splits move the bits with their rows", {
  for (case in vectors("missing", "slice")) {
    cut <- unwrap(frame_slice(unhex(case$wire), case$start, case$stop))
    expect_identical(hex(cut), case$expected, info = case$name)
  }
  for (case in vectors("missing", "join")) {
    joined <- unwrap(frame_join(lapply(case$parts, unhex)))
    expect_identical(hex(joined), case$expected, info = case$name)
    rows <- vapply(case$parts, function(part) nrow(rdv_decode(unhex(part))), 0L)
    parts <- unwrap(frame_split(joined, rows))
    expect_identical(vapply(parts, hex, ""), unlist(case$parts), info = case$name)
  }
})

test_that("each request of a parcel gets its own rows back", {
  for (case in vectors("parcels")) {
    scored <- Filter(function(item) is.null(item$error), case$items)
    for (side in list(list("inputs", case$items, case$input_rows), list("outputs", scored, case$output_rows))) {
      frame <- rdv_encode(list(row = seq_len(side[[3]]) - 1L))
      rows <- vapply(side[[2]], function(item) as.numeric(item$rows), 0)
      parts <- unwrap(frame_split(frame, rows))
      for (k in seq_along(parts)) {
        span <- unlist(side[[2]][[k]][[side[[1]]]])
        expect_equal(rdv_decode(parts[[k]])$row, seq(span[1], length.out = span[2] - span[1]), info = case$name)
      }
    }
  }
})

test_that("parcels are scored as the vectors say, and malformed ones never", {
  calls <- 0
  model <- rdv_model(function(df) {
    calls <<- calls + 1
    if (any(df$x < 0)) stop("negative")
    if (any(df$x >= 1000)) list(y = df$x[-1]) else list(y = df$x)
  }, outputs = c(y = "INT32"))
  box <- unwrap(box_make(model_info(model, "1"), evaluator(model), list(endpoint = "credit", name = "m", version = "1")))
  deliver <- function(case) {
    age <- if (is.null(case$age_us)) 0 else case$age_us
    unwrap(box_deliver(box, list(list(parcel = unhex(case$parcel), sequence = 1, number = 1, age_us = age)), 0))[[1]]
  }
  for (case in vectors("scores", "scored")) {
    score <- deliver(case)
    for (k in seq_along(case$items)) {
      actual <- score$items[[k]]
      code <- if (is.null(actual$error)) NULL else condition_of(actual$error)$code
      expect_equal(
        list(actual$request_id, actual$rows, code, actual$traceparent),
        unname(case$items[[k]][c("request_id", "rows", "error", "traceparent")]),
        info = case$name
      )
    }
    expected <- if (nzchar(case$outputs)) rdv_decode(unhex(case$outputs))
    expect_equal(score$outputs, expected, info = case$name)
  }
  calls <- 0
  for (case in vectors("scores", "malformed")) {
    if (is.null(box_parcel_facts(unhex(case$parcel)))) next # the postbox takes it off unread
    codes <- vapply(deliver(case)$items, function(item) condition_of(item$error)$code, "")
    expect_true(all(codes == "INVALID_FRAME"), info = case$name)
  }
  expect_equal(calls, 0)
})

test_that("expiry follows the broker's clock", {
  for (case in vectors("deadlines")) {
    expect_identical(
      is_item_expired(case$stored_unix_us, case$budget_us, case$broker_now_unix_us), case$expired,
      info = case$name
    )
  }
})

test_that("the table of errors is that of the vectors", {
  cases <- vectors("errors")
  table <- rdv_error_codes()
  for (field in c("code", "name", "retryable", "grpc_status", "grpc_code", "http_status")) {
    expect_equal(table[[field]], unlist(lapply(cases, `[[`, field)), info = field)
  }
})

test_that("failed calls become the errors of the vectors", {
  for (case in vectors("statuses")) {
    error <- condition_of(status_fault(case$grpc_code, case$details, unhex(case$error_bin), ""))
    expect_identical(
      list(error$code, conditionMessage(error), error$retryable), list(case$code, case$message, case$retryable),
      info = case$name
    )
    expect_s3_class(error, leaf_class(case$code))
  }
})

test_that("names and addresses are those of the vectors", {
  for (case in vectors("names", "name")) {
    expect_identical(!inherits(name_check("name", case$value), "rdv_fault"), case$valid, info = case$name)
  }
  for (case in vectors("names", "version")) {
    token <- version_check(case$value)
    expect_identical(if (inherits(token, "rdv_fault")) "" else token, case$token, info = case$name)
  }
  for (case in vectors("names", "addresses")) {
    made <- postbox_names(case$endpoint, case$model, case$version, case$router)
    expect_identical(
      unlist(made, use.names = FALSE),
      c(case$streams$durable, case$subjects$input, case$subjects$raw, case$subjects$raw_of_stage_2, case$subjects$score, case$consumer, case$keys$rv_models),
      info = case$name
    )
    expect_identical(paste(made$model_key, case$replica, sep = "."), case$keys$rv_replicas, info = case$name)
  }
})

test_that("well-formed trace contexts are told from malformed ones", {
  for (case in vectors("traces")) {
    expect_identical(is_valid_traceparent(case$traceparent), case$well_formed, info = case$name)
  }
})
