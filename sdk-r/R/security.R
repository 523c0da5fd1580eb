# What a connection shows and asks for: key, certificates, TLS. Argument > environment. A key never gets into a message.

# Checked, for the C++ core. *plain*: whether nothing is taken from the environment.
security_of <- function(key = NULL, ca = NULL, cert = NULL, cert_key = NULL, tls = NULL, plain = FALSE) {
  from <- if (plain) function(value, variable) value else from_environment
  if (isFALSE(tls) && !all(is.null(ca), is.null(cert), is.null(cert_key))) {
    refuse("`tls` is FALSE, but certificates are given: leave one of them out")
  }
  is_off <- isFALSE(tls)
  security <- list(
    key = key_of(key, plain),
    ca = if (is_off) "" else pem_file(from(ca, "RENDEZVOUS_CA"), "ca"),
    cert = if (is_off) "" else pem_file(from(cert, "RENDEZVOUS_CERT"), "cert"),
    cert_key = if (is_off) "" else pem_file(from(cert_key, "RENDEZVOUS_CERT_KEY"), "cert_key")
  )
  if (nzchar(security$cert) != nzchar(security$cert_key)) {
    refuse("a certificate and its private key belong together: give both of `cert` and `cert_key`, or none")
  }
  security$tls <- !is_off && (flag_of(from(tls, "RENDEZVOUS_TLS"), "tls") || nzchar(security$ca) || nzchar(security$cert))
  security
}

# A key, or the file that holds it; empty: none.
key_of <- function(key, plain = FALSE) {
  if (is.null(key) && !plain) {
    key <- from_environment(NULL, "RENDEZVOUS_KEY")
    file <- if (is.null(key)) from_environment(NULL, "RENDEZVOUS_KEY_FILE")
    if (!is.null(file)) key <- paste(lines_of_file(file, "RENDEZVOUS_KEY_FILE"), collapse = "\n")
  }
  if (is.null(key)) return("")
  if (!is.character(key) || length(key) != 1 || is.na(key)) refuse("`key` must be one text")
  key <- trimws(key)
  if (is_valid_key(key)) return(key)
  refuse(
    "the key given (", nchar(key, "bytes"), " characters) is none: keys read rv_<12 characters>_<52 characters>, of a-z ",
    "and 2-7, as `rendezvous key add` prints them"
  )
}

lines_of_file <- function(file, what) {
  tryCatch(
    suppressWarnings(readLines(file, warn = FALSE)),
    error = function(cond) refuse(what, " names the file ", shown(file), ", which cannot be read")
  )
}

# An absolute path, empty where there is none.
pem_file <- function(file, what) {
  if (is.null(file)) return("")
  check_one_text(file, what)
  if (!any(grepl("-----BEGIN ", lines_of_file(file, paste0("`", what, "`")), fixed = TRUE, useBytes = TRUE))) {
    refuse("the file ", shown(file), " of `", what, "` is not in PEM format: it has no line that says BEGIN")
  }
  normalizePath(file)
}

flag_of <- function(value, what) {
  if (is.null(value)) return(FALSE)
  if (is.logical(value) && length(value) == 1 && !is.na(value)) return(value)
  known <- c("1" = TRUE, true = TRUE, yes = TRUE, on = TRUE, "0" = FALSE, false = FALSE, no = FALSE, off = FALSE)
  found <- known[tolower(as.character(value))[1]]
  if (is.na(found)) refuse(what, " is ", shown(value), ": write 1 or 0")
  unname(found)
}

# Refuses to show a key to whoever listens on the way. *hosts*: where it would go without TLS.
check_key_is_safe <- function(security, hosts, insecure) {
  open <- hosts[!is_loopback(hosts)]
  is_allowed <- flag_of(from_environment(insecure, "RENDEZVOUS_INSECURE"), "insecure")
  if (!nzchar(security$key) || security$tls || length(open) == 0 || is_allowed) return(invisible())
  refuse(
    "the key would be sent to ", open[1], " without encryption: use TLS (`ca`, or `tls = TRUE`), or say ",
    "`insecure = TRUE` (RENDEZVOUS_INSECURE=1) where nobody can listen"
  )
}

is_loopback <- function(hosts) {
  tolower(hosts) %in% c("localhost", "::1") | grepl("^127\\.[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}$", hosts)
}

# The host of `host:port` or `[address]:port`.
host_of <- function(address) gsub("^\\[|\\]$", "", sub(":[0-9]*$", "", address))

# The hosts of NATS's addresses that are not reached over TLS; a key and a user in an address contradict each other.
plain_nats_hosts <- function(nats, security) {
  urls <- trimws(strsplit(nats, ",", fixed = TRUE)[[1]])
  places <- sub("^[a-z]+://", "", urls)
  if (nzchar(security$key) && any(grepl("@", places, fixed = TRUE))) {
    refuse("the address of NATS names a user, and a key is given: leave one of them out")
  }
  if (any(startsWith(urls, "tls://"))) return(character())
  host_of(sub("/.*$", "", places))
}
