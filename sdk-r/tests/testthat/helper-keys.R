# Keys, a development authority, and a broker that lets a model do what its key allows and nothing else.

new_key <- function() {
  letters32 <- c(letters, 2:7)
  text <- function(count) paste(sample(letters32, count, TRUE), collapse = "")
  id <- text(12)
  secret <- text(52)
  list(id = id, secret = secret, text = paste0("rv_", id, "_", secret))
}

# Runs openssl; files are made in a folder of their own.
make_certificates <- function() {
  skip_if(!nzchar(Sys.which("openssl")), "no openssl")
  folder <- tempfile("certificates")
  dir.create(folder)
  writeLines("subjectAltName=DNS:localhost,IP:127.0.0.1", file.path(folder, "names"))
  file <- function(name) file.path(folder, name)
  openssl <- function(...) {
    status <- system2("openssl", c(...), stdout = FALSE, stderr = FALSE)
    if (status != 0) stop("openssl ", paste(c(...), collapse = " "))
  }
  make_key <- function(name) openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", file(name))
  make_key("ca.key")
  openssl("req", "-x509", "-new", "-key", file("ca.key"), "-subj", "/CN=development", "-days", "2", "-out", file("ca.pem"))
  for (name in c("server", "model")) {
    make_key(paste0(name, ".key"))
    request <- file(paste0(name, ".csr"))
    openssl("req", "-new", "-key", file(paste0(name, ".key")), "-subj", paste0("/CN=", name), "-out", request)
    openssl(
      "x509", "-req", "-in", request, "-CA", file("ca.pem"), "-CAkey", file("ca.key"), "-CAcreateserial", "-days", "2",
      "-extfile", file("names"), "-out", file(paste0(name, ".pem"))
    )
  }
  file
}

# docs/protocol.md, section "What a model may do", for model `double` of endpoint `e`.
allowed_subjects <- c(
  "$JS.API.STREAM.INFO.KV_rv_models", "$JS.API.STREAM.INFO.KV_rv_replicas", "$KV.rv_models.e.double.*",
  "$KV.rv_replicas.e.double.>", "$JS.API.CONSUMER.INFO.RV_e.double__1", "$JS.API.CONSUMER.MSG.NEXT.RV_e.double__1",
  "$JS.ACK.RV_e.double__1.>", "$JS.ACK.*.*.RV_e.double__1.>", "rv.e.score.double.*"
)

# The configuration of a broker with an account of an administrator and, unless revoked, a model; *tls*: its certificates.
write_nats_config <- function(file, key, tls = NULL, is_revoked = FALSE) {
  quoted <- function(texts) paste0('"', texts, '"', collapse = ", ")
  model <- sprintf(
    '{user: "%s", password: "%s", permissions: {publish: {allow: [%s]}, subscribe: {allow: ["_INBOX_%s.>"]}}}',
    key$id, key$secret, quoted(allowed_subjects), key$id
  )
  secured <- if (!is.null(tls)) {
    sprintf('tls {cert_file: "%s", key_file: "%s", ca_file: "%s", verify: true}', tls("server.pem"), tls("server.key"), tls("ca.pem"))
  }
  writeLines(c(secured, sprintf(
    'accounts {T: {jetstream: enabled, users: [{user: admin, password: admin}%s]}}', if (is_revoked) "" else paste(",", model)
  )), file)
}

# Such a broker, with what the router makes of streams and buckets; the model's consumer is made by `make_consumer`.
start_keyed_site <- function(tls = NULL, env = parent.frame()) {
  site <- new.env()
  site$key <- new_key()
  site$port <- free_port()
  site$store <- tempfile("store")
  site$config <- tempfile("nats", fileext = ".conf")
  site$tls <- tls
  write_nats_config(site$config, site$key, tls)
  site$nats <- start_nats(site$port, site$store, "-c", site$config)
  site$url <- paste0("nats://127.0.0.1:", site$port)
  site$models <- list()
  withr_defer(stop_site(site), env)
  admin <- paste0("nats://admin:admin@127.0.0.1:", site$port)
  site$wire <- if (is.null(tls)) open_wire(admin) else open_wire(admin, ca = tls("ca.pem"), cert = tls("model.pem"), cert_key = tls("model.key"))
  wait_until("the connection", function() wire_is_connected(site$wire))
  make <- function(name, more) {
    said <- wire_request(site$wire, paste0("$JS.API.STREAM.CREATE.", name), charToRaw(sprintf('{"name": "%s", %s}', name, more)), 2000)
    if (grepl('"error"', said, fixed = TRUE)) stop(said)
  }
  make("RV_e", '"subjects": ["rv.e.input"], "storage": "file"')
  for (bucket in c("rv_models", "rv_replicas")) make(paste0("KV_", bucket), sprintf('"subjects": ["$KV.%s.>"], "storage": "file"', bucket))
  wire_subscribe(site$wire, "rv.e.score.*.in-memory")
  site
}

make_consumer <- function(site, ack_wait_ns = "1000000000") {
  body <- sprintf('{"stream_name": "RV_e", "config": {"durable_name": "double__1", "name": "double__1", "ack_policy": "explicit",
    "ack_wait": %s, "max_deliver": 5, "filter_subject": "rv.e.input"}}', ack_wait_ns)
  wire_request(site$wire, "$JS.API.CONSUMER.DURABLE.CREATE.RV_e.double__1", charToRaw(body), 2000)
}
