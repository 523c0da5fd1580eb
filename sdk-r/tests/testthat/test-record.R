test_that("outcomes that cannot be meant are refused before they are sent", {
  client <- rdv_client("127.0.0.1:1", timeout = 0.1)
  cases <- list(
    list(quote(rdv_record(client, 1)), "`request_id` or `key`"),
    list(quote(rdv_record(client, 1, request_id = "r", key = c(a = "b"))), "`request_id` or `key`"),
    list(quote(rdv_record(client, 1, key = "b")), "without names"),
    list(quote(rdv_record(client, NA, request_id = "r")), "is missing"),
    list(quote(rdv_record(client, 1i, request_id = "r")), "class complex"),
    list(quote(rdv_record(client, 1, kind = "fact", request_id = "r")), "truth, reward, verdict"),
    list(quote(rdv_record(client, 1, request_id = "r", row = 0)), "count from 1"),
    list(quote(rdv_record(client, 1, request_id = "r", row = 1.5)), "count from 1"),
    list(quote(rdv_record(client, 1, request_id = "r", observed_at = "today")), "POSIXct"),
    list(quote(rdv_record(client, 1:3, request_id = c("a", "b"))), "`request_id` has 2 elements, others have 3"),
    list(quote(rdv_record(client, 1, request_id = NA)), "none missing")
  )
  for (case in cases) expect_error(eval(case[[1]]), case[[2]], fixed = TRUE, class = "rendezvous_invalid_request")
  expect_error(rdv_record(client, 1, request_id = "r"), class = "rendezvous_unavailable")
})

test_that("times are microseconds and rows count from 0 on the wire", {
  expect_identical(observed_of_outcome(as.Date("2026-05-01")), 1777593600000000)
  expect_identical(observed_of_outcome(as.POSIXct("2026-05-01 00:00:00.25", tz = "UTC")), 1777593600250000)
  expect_identical(row_of_outcome(c(1, NA, 3)), c(0L, NA, 2L))
  expect_identical(value_of_outcome(factor("bad")), "bad")
  expect_identical(kind_of_outcome(c("verdict", "truth")), c(3L, 1L))
})
