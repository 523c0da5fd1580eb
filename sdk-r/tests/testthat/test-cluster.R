# A model at a cluster of three servers that keep its stream on all of them.

double <- "rdv_serve(function(df) list(y = df$x * 2), name = 'double')"

consumer_of <- function(cluster) wire_request(cluster$wire, "$JS.API.CONSUMER.INFO.RV_e.double__1", raw(), 5000)

test_that("a model goes on when the node that it is connected to dies, and when the leader of its consumer does", {
  cluster <- start_cluster()
  start_model(cluster, double)
  expect_identical(scored_again(cluster, 1)$outputs$y, 2)
  for (bucket in c("KV_rv_replicas", "KV_rv_models")) {
    expect_match(wire_request(cluster$wire, paste0("$JS.API.STREAM.INFO.", bucket), raw(), 5000), '"num_replicas":3')
  }

  replica <- sub(".*replica ([^,]+),.*", "\\1", cluster$model$ready)
  serving <- function() Find(function(node) grepl(replica, tryCatch(monitored(cluster, node, "connz"), error = function(cond) "")), 1:3)
  first <- serving()
  kill_node(cluster, first)
  expect_identical(scored_again(cluster, 2)$outputs$y, 4)
  expect_false(identical(serving(), first))
  expect_match(printed(cluster$model, "err"), "reconnected to NATS")
  start_node(cluster, first)
  wait_until_healthy(cluster, first)

  leader <- wait_until("a leader", function() {
    found <- regmatches(consumer_of(cluster), regexec('"leader":"n([123])"', consumer_of(cluster)))[[1]]
    if (length(found) == 2) as.integer(found[2])
  }, 30)
  kill_node(cluster, leader)
  expect_identical(scored_again(cluster, 3)$outputs$y, 6)

  # One that starts while a node is dead.
  end_program(cluster$model, tools::SIGTERM)
  expect_identical(exit_status(cluster$model), 0L)
  start_model(cluster, double)
  expect_identical(scored_again(cluster, 4)$outputs$y, 8)
  start_node(cluster, leader)
  wait_until_healthy(cluster, leader)
  expect_identical(scored_again(cluster, 5)$outputs$y, 10)
})
