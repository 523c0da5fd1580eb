test_that("addresses, endpoints and timeouts that are none are refused with what is wrong", {
  cases <- list(
    list(quote(rdv_client("grpc://h:1")), "with the scheme 'grpc'"), list(quote(rdv_client("http://h:1")), "with the scheme 'http'"),
    list(quote(rdv_client("host")), "without a port"), list(quote(rdv_client("[::1]")), "without a port"),
    list(quote(rdv_client("")), "which is empty"), list(quote(rdv_client(NA_character_)), "write it as host:port"),
    list(quote(rdv_client(NA)), "write it as host:port"), list(quote(rdv_client("::1:8001")), "brackets"),
    list(quote(rdv_client(":8001")), "without a host"), list(quote(rdv_client("h:http")), "the port 'http'"),
    list(quote(rdv_client("h:70000")), "1 to 65535"), list(quote(rdv_client("h:1/x")), "a slash"),
    list(quote(rdv_client("h:1", endpoint = c("a", "b"))), "`endpoint` is c(\"a\", \"b\"): it must be one text"),
    list(quote(rdv_client("h:1", timeout = NA)), "timeout is NA"), list(quote(rdv_client("h:1", timeout = -1)), "timeout is -1"),
    list(quote(rdv_client("h:1", timeout = "1s")), "timeout is \"1s\""), list(quote(rdv_client("h:1", max_message_bytes = Inf)), "max message bytes is")
  )
  for (case in cases) expect_error(eval(case[[1]]), case[[2]], fixed = TRUE, class = "rendezvous_invalid_request")
  for (address in c("127.0.0.1:1", "[::1]:8001", "host.example:65535")) expect_s3_class(rdv_client(address), "rdv_client")
  expect_identical(check_timeout(Inf), 86400)
})

test_that("contexts without names and clients that were saved are refused", {
  client <- rdv_client("127.0.0.1:1", timeout = 0.1)
  client$info <- list(inputs = list())
  cases <- list(list("b", "without names"), list(list(a = 1:2), "context 'a' is 1:2"), list(c(a = NA), "context 'a' is NA"))
  for (case in cases) {
    expect_error(rdv_score(client, list(x = 1), context = case[[1]]), case[[2]], fixed = TRUE, class = "rendezvous_invalid_request")
    expect_error(rdv_stream(client, list(list(x = 1)), context = case[[1]]), case[[2]], fixed = TRUE, class = "rendezvous_invalid_request")
  }
  file <- tempfile()
  saveRDS(client, file)
  for (call in list(rdv_score, rdv_stream, rdv_describe)) {
    expect_error(call(readRDS(file), list(list(x = 1))), "connections cannot be saved", class = "rendezvous_invalid_request")
  }
})

test_that("a table that cannot be encoded has its condition in its place of a stream", {
  site <- start_site("rdv_serve(function(df) list(y = df$x), postbox = FALSE)")
  client <- rdv_client(site$model$address)
  answers <- rdv_stream(client, list(a = list(x = 1), b = list(x = 1i), c = list(x = 3), d = 5), timeout = Inf)
  expect_identical(names(answers), c("a", "b", "c", "d"))
  expect_identical(c(answers$a$y, answers$c$y), c(1, 3))
  for (each in answers[c("b", "d")]) expect_s3_class(each, "rendezvous_error")
  expect_s3_class(rdv_stream(client, list(list(x = 1i)))[[1]], "rendezvous_invalid_frame")
  expect_identical(rdv_score(client, list(x = 1), timeout = Inf)$y, 1)
})
