# Classes are attributes that anybody can set on anything.

odd_values <- list(
  "a factor without levels" = structure(1L, class = "factor"),
  "a factor without levels" = structure(1L, class = "factor", levels = 1L),
  "has the code 7, of 2 levels" = structure(7L, class = "factor", levels = c("a", "b")),
  "has the code 0, of 2 levels" = structure(0L, class = "factor", levels = c("a", "b")),
  "class Date, but holds values of type character" = structure("x", class = "Date"),
  "class POSIXct, but holds values of type logical" = structure(TRUE, class = c("POSIXct", "POSIXt")),
  "class integer64, but holds values of type integer" = structure(1L, class = "integer64")
)

test_that("values that are not what their class says are refused, naming the column", {
  for (k in seq_along(odd_values)) {
    box <- rdv_postbox(function(df) list(p = odd_values[[k]]))
    error <- expect_error(box$score(list(x = 1)), names(odd_values)[k], class = "rendezvous_invalid_output")
    expect_identical(error$attributes[["column"]], "p")
    expect_error(rdv_encode(list(p = odd_values[[k]])), names(odd_values)[k], class = "rendezvous_invalid_frame")
  }
})

test_that("a script lives through answers that are not what their class says", {
  code <- "box <- rendezvous::rdv_postbox(function(df) list(p = switch(df$x,
      structure(1L, class = 'factor'), structure('x', class = 'Date'), structure(7L, class = 'factor', levels = 'a'),
      structure(1L, class = 'integer64'))))
    for (k in 1:4) cat(tryCatch(box$score(list(x = k)), rendezvous_error = function(e) e$code), '')"
  program <- start_program(
    c(file.path(R.home("bin"), "Rscript"), "-e", code), c(R_LIBS = paste(.libPaths(), collapse = ":"))
  )
  expect_identical(exit_status(program), 0L)
  expect_identical(printed(program), strrep("INVALID_OUTPUT ", 4))
})

