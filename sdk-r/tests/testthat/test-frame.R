round_trip <- function(column, types = character()) rdv_decode(rdv_encode(list(x = column), types))$x

test_that("every type of R comes back as it was", {
  columns <- list(
    logical = c(TRUE, NA, FALSE),
    integer = c(1L, NA, -2147483647L),
    numeric = c(0.1, NA, NaN, Inf, -Inf, -0),
    character = c("", NA, "größe", "\u4e2d"),
    integer64 = bit64::as.integer64(c("9223372036854775807", NA, "-1")),
    raws = list(as.raw(0:2), NULL, raw()),
    matrix = matrix(c(1, 2, NA, 4, 5, NA), 3),
    array = array(1:8, c(2, 2, 2)),
    texts = matrix(c("a", NA, "b", NA), 2),
    flags = matrix(c(TRUE, FALSE, TRUE, FALSE), 2),
    empty = numeric(),
    hollow = matrix(numeric(), 3, 0)
  )
  for (name in names(columns)) expect_identical(round_trip(columns[[name]]), columns[[name]], info = name)
})

test_that("NA and NaN stay apart in every floating type", {
  for (type in c("FP16", "FP32", "FP64")) {
    expect_identical(round_trip(c(NA, NaN, 1.5), c(x = type)), c(NA, NaN, 1.5), info = type)
  }
})

test_that("a factor is sent as its labels, NA as missing", {
  expect_identical(round_trip(factor(c("b", NA, "a"), levels = c("b", "a"))), c("b", NA, "a"))
})

test_that("moments are sent as microseconds since 1970 UTC, and come back where declared", {
  moment <- as.POSIXct(c("2024-02-29 12:34:56.789012", NA), tz = "UTC")
  expect_identical(as.character(round_trip(moment)), c("1709210096789012", NA))
  day <- as.Date(c("1969-12-31", NA, "2024-02-29"))
  expect_identical(as.character(round_trip(day)), c("-86400000000", NA, "1709164800000000"))
  raw <- rdv_encode(list(at = moment, day = day[1:2]))
  back <- rdv_decode(raw, inputs = c(at = "POSIXct", day = "Date"))
  expect_equal(as.numeric(back$at), as.numeric(moment), tolerance = 1e-12)
  expect_identical(back$day, day[1:2])
  local <- as.POSIXct("2024-07-01 12:00:00", tz = "America/New_York")
  expect_identical(as.character(round_trip(local)), "1719849600000000")
})

test_that("INT64 comes as a number where it is one exactly, if asked for", {
  wide <- bit64::as.integer64(c("9007199254740992", NA, "-9007199254740992"))
  expect_identical(rdv_decode(rdv_encode(list(x = wide)), int64 = "numeric")$x, c(2^53, NA, -2^53))
  wider <- wide + 1L
  expect_identical(rdv_decode(rdv_encode(list(x = wider)), int64 = "numeric")$x, wider)
  expect_identical(rdv_postbox(function(df) list(y = exp(df$x)))$score(list(x = bit64::as.integer64(1:2)))$y, exp(1:2))
})

test_that("raw vectors are UINT8, or BYTES where asked for", {
  expect_identical(round_trip(as.raw(c(0, 255))), c(0L, 255L))
  expect_identical(round_trip(as.raw(c(0, 255)), c(x = "BYTES")), list(as.raw(0), as.raw(255)))
})

test_that("numbers are converted where nothing is lost", {
  cases <- list(
    list(c(1, 255), "UINT8"), list(c(0, NA, 7), "INT64"), list(c(TRUE, FALSE), "FP32"), list(1:3, "FP64"),
    list(bit64::as.integer64(7), "INT8"), list(c(TRUE, FALSE), "BOOL"), list(c(NA, NA), "STRING"), list(NA, "BYTES"),
    list(bit64::as.integer64(2)^53, "UINT64"), list(4294967295, "UINT32")
  )
  for (case in cases) {
    raw <- rdv_encode(list(x = case[[1]]), c(x = case[[2]]))
    expect_identical(frame_types(raw), c(x = case[[2]]))
    back <- rdv_decode(raw)$x
    if (case[[2]] == "BYTES") expect_null(back[[1]])
    if (!case[[2]] %in% c("BYTES", "STRING")) expect_equal(as.character(back), as.character(if (is.logical(case[[1]]) && case[[2]] != "BOOL") +case[[1]] else case[[1]]), info = case[[2]])
  }
})

test_that("what would be lost is refused, naming column, value and type", {
  cases <- list(
    list(256, "UINT8", "256"), list(-1, "UINT64", "-1"), list(1.5, "INT32", "1.5"), list(NaN, "INT64", "NaN"),
    list(2^63, "INT64", "9.22337203685478e\\+18"), list(1e39, "FP32", "1e\\+39"), list(1e6, "FP16", "1000000"),
    list(2L, "BOOL", "2"), list("a", "FP64", "character"), list(1, "STRING", "numeric"), list("a", "BYTES", "character")
  )
  for (case in cases) {
    error <- expect_error(rdv_encode(list(x = case[[1]]), c(x = case[[2]])), class = "rendezvous_invalid_frame")
    expect_match(conditionMessage(error), paste0("column 'x': .*", case[[3]], ".*", case[[2]]))
    expect_identical(error$attributes[["column"]], "x")
  }
})

test_that("tables that are none are refused with what to do", {
  cases <- list(
    "give a data.frame" = 1:3,
    "must not be empty" = list(1),
    "is there twice" = list(a = 1, a = 2),
    "all must have the same" = list(a = 1, b = 1:2),
    "NA must fill a whole row" = list(m = matrix(c(1, NA, 3, 4), 2)),
    "as.POSIXct" = list(t = as.POSIXlt("2024-01-01", tz = "UTC")),
    "class difftime" = list(d = as.difftime(1, units = "secs")),
    "type complex" = list(z = 1i),
    "a list holds raw vectors" = list(l = list(1)),
    "give its encoding" = list(s = `Encoding<-`("\xff", "bytes")),
    "not valid UTF-8" = list(s = `Encoding<-`("\xff", "UTF-8"))
  )
  for (text in names(cases)) {
    expect_error(rdv_encode(cases[[text]]), text, fixed = TRUE, class = "rendezvous_invalid_frame")
  }
  expect_error(rdv_encode(list(a = 1), c(b = "FP64")), "not in the table", class = "rendezvous_invalid_frame")
  expect_error(rdv_encode(list(a = 1), c(a = "FLOAT")), "use one of", class = "rendezvous_invalid_request")
  expect_error(rdv_decode("text"), "raw vector", class = "rendezvous_invalid_request")
  expect_error(rdv_decode(as.raw(255)), "no Frame", class = "rendezvous_invalid_frame")
})

test_that("text that is not UTF-8 is found in the message that protobuf refuses", {
  raw <- rdv_encode(list(purpose = c("car", "xyz")))
  at <- which(raw == charToRaw("y"))
  raw[at] <- as.raw(0xff)
  error <- expect_error(rdv_decode(raw), class = "rendezvous_invalid_frame")
  expect_identical(
    conditionMessage(error), "column 'purpose': element 1 is not valid UTF-8 (byte 0xff at 1)"
  )
})

test_that("texts in other encodings are sent as UTF-8", {
  latin <- `Encoding<-`("gr\xfc\xdfe", "latin1")
  expect_identical(round_trip(latin), "gr\u00fc\u00dfe")
})

test_that("rows of a data.frame without columns are kept", {
  expect_identical(nrow(rdv_decode(rdv_encode(data.frame(row.names = 1:3)))), 3L)
})
