#' Encodes a table as a frame, and back
#'
#' What travels is a frame: rows and typed columns. Types follow from R's:
#'
#' | R | frame | back in R |
#' |---|---|---|
#' | logical | BOOL | logical |
#' | integer | INT32 | integer (numeric, if it holds -2147483648, which is R's NA) |
#' | numeric | FP64 | numeric |
#' | `bit64::integer64` | INT64 | see `int64` |
#' | character, factor | STRING | character |
#' | `Date`, `POSIXct` | INT64, microseconds since 1970-01-01 UTC | a number, or what a model declares |
#' | raw | UINT8 | integer |
#' | list of raw vectors (`NULL`: missing) | BYTES | list of raw vectors |
#' | matrix, array (rows first) | the shape of its further dimensions | matrix, array |
#' |  | INT8, INT16, UINT8, UINT16 | integer |
#' |  | UINT32, FP16, FP32 | numeric |
#' |  | UINT64 | see `int64` |
#'
#' Missing and NaN stay apart: `NA` of every type is missing, `NaN` is a number. A row of a matrix is missing if all of
#' it is `NA`; `NA` in a part of it is refused. Of a matrix without columns, the attribute `rdv_missing` (logical, one a
#' row) says which rows are missing. A factor is sent as its labels; the order of its levels is not sent.
#' A moment is rounded to microseconds; a `Date` is its midnight in UTC.
#'
#' R cannot hold these; a table with them is refused (SIGNATURE_MISMATCH), naming the column: UINT64 above
#' 9223372036854775807, INT64 -9223372036854775808 (which is `NA` of integer64), text with a NUL character.
#'
#' @param df A data.frame (its row names are not sent) or a named list of columns of one length.
#' @param types Types by column name, such as `c(amount = "FP32")`, where they should not follow from the values. Numbers
#'   are converted if nothing but precision of floating point is lost; a column of nothing but `NA` takes any type.
#' @param raw A serialized frame.
#' @param inputs Optional declaration of columns as in [rdv_model()], for `"Date"`, `"POSIXct"` and factors.
#' @param int64 As what INT64 and UINT64 come. `"integer64"`: always as `bit64::integer64`, of which most of R's functions
#'   know nothing: `exp()`, `predict()`, `matrix()` take its bits for another number, and `0.5 * x` rounds. `"numeric"`: as
#'   plain numbers where each value of the column is one exactly (up to 2^53), else as integer64. Models and clients
#'   use `"numeric"` unless told otherwise.
#' @return `rdv_encode`: a raw vector, the serialized `rendezvous.v1.Frame`. `rdv_decode`: a data.frame.
#' @section Errors:
#' `rendezvous_invalid_frame`: a column has no type here, is of another length than the first, or does not fit the type
#' asked for; the octets are no frame, or it contradicts itself.\cr
#' `rendezvous_signature_mismatch`: R cannot hold a value.
#' @section Source: docs/protocol.md, sections "Frames" and "Missing values" (P40 to P53).
#' @examples
#' raw <- rdv_encode(data.frame(amount = c(1169, NA), purpose = c("car", NA)))
#' rdv_decode(raw)
#' @export
rdv_encode <- function(df, types = character()) {
  types <- unlist(types)
  unknown <- setdiff(names(types), names(df))
  if (length(unknown)) {
    stop(rdv_error(
      "INVALID_FRAME", paste0("column '", unknown[1], "' is named in `types` but is not in the table"),
      c(column = unknown[1])
    ))
  }
  unwrap(frame_encode(df, as.character(types) |> stats::setNames(names(types))))
}

#' @rdname rdv_encode
#' @export
rdv_decode <- function(raw, inputs = NULL, int64 = c("integer64", "numeric")) {
  if (!is.raw(raw)) refuse("`raw` is of class ", class(raw)[1], ": give a raw vector")
  unwrap(frame_decode(raw, columns_of(inputs), match.arg(int64) == "numeric"))
}
