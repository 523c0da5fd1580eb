test_that("every code has a condition class of its own under one root", {
  table <- rdv_error_codes()
  for (row in seq_len(nrow(table))) {
    error <- rdv_error(table$name[row], "why", c(limit = 3))
    expect_identical(class(error), c(table$class[row], "rendezvous_error", "error", "condition"))
    expect_identical(tryCatch(stop(error), rendezvous_error = function(e) e$code), table$name[row])
    expect_identical(error$retryable, table$retryable[row])
    expect_identical(error$attributes, c(limit = "3"))
  }
  expect_error(rdv_error("NOPE", "x"), class = "rendezvous_invalid_request")
})

test_that("a code of the future is INTERNAL and keeps its number", {
  error <- condition_of(list(code = 99L, message = "new", attributes = character()))
  expect_identical(error$code, "INTERNAL")
  expect_identical(error$attributes, c(unknown_code = "99"))
  expect_false(error$retryable)
})

test_that("ids are UUIDs of version 7, sortable by time", {
  ids <- replicate(100, make_id())
  expect_match(ids, "^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")
  expect_identical(anyDuplicated(ids), 0L)
  expect_identical(substr(ids, 1, 9), sort(substr(ids, 1, 9)))
})
