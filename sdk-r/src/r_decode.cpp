#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "half.h"
#include "r_frame.h"
#include "r_tried.h"
#include "text.h"

namespace rv {

namespace {
constexpr int64_t kNaInteger64 = std::numeric_limits<int64_t>::min();
constexpr double kMicrosPerDay = 86400e6;

[[noreturn]] void refuse(const v1::Column& column, int64_t row, const std::string& message) {
  throw Fault(v1::ERROR_CODE_SIGNATURE_MISMATCH,
              "column " + quoted(column.name()) + " in row " + std::to_string(row) + ": " + message,
              {{"column", shown_name(column.name())}, {"row", std::to_string(row)}});
}

double integer64(int64_t value) {
  double bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

// One column on its way to R: element k of row r goes to place(r, k).
class Column {
 public:
  Column(const v1::Column& column, int64_t rows)
      : wire(column),
        rows(rows),
        elements(rows ? elements_per_row(column) : 0),
        places_(rows ? column_major_places(shape_of(column)) : std::vector<int64_t>{}) {}

  const v1::Column& wire;
  const int64_t rows;
  const int64_t elements;

  bool is_missing(int64_t row) const { return bit_of(wire.missing(), row); }
  R_xlen_t length() const { return rows * elements; }

  // Calls put(place in R, element on the wire, row) for each element of each row.
  template <typename Put>
  void each(Put put) const {
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t k = 0; k < elements; ++k) put(row + rows * places_[k], row * elements + k, row);
    }
  }

  template <typename Wire>
  Wire at(int64_t element) const {
    Wire value;
    std::memcpy(&value, wire.values().data() + element * sizeof(Wire), sizeof value);
    return value;
  }

 private:
  const std::vector<int64_t> places_;
};

SEXP decode_bool(const Column& column) {
  Rcpp::Shield<SEXP> made(Rf_allocVector(LGLSXP, column.length()));
  int* target = LOGICAL(made);
  column.each([&](int64_t place, int64_t element, int64_t row) {
    target[place] = column.is_missing(row) ? NA_LOGICAL : column.at<uint8_t>(element);
  });
  return made;
}

template <typename Wire>
SEXP decode_integer(const Column& column) {
  Rcpp::Shield<SEXP> made(Rf_allocVector(INTSXP, column.length()));
  int* target = INTEGER(made);
  column.each([&](int64_t place, int64_t element, int64_t row) {
    target[place] = column.is_missing(row) ? NA_INTEGER : static_cast<int>(column.at<Wire>(element));
  });
  return made;
}

template <typename Read>
SEXP decode_double(const Column& column, Read read) {
  Rcpp::Shield<SEXP> made(Rf_allocVector(REALSXP, column.length()));
  double* target = REAL(made);
  column.each([&](int64_t place, int64_t element, int64_t row) {
    target[place] = column.is_missing(row) ? NA_REAL : read(element);
  });
  return made;
}

// R's NA is a NaN with a payload of its own: a number that happens to have it must not become missing.
double number_of(double value) { return R_IsNA(value) ? R_NaN : value; }

SEXP decode_fp64(const Column& column) {
  if (!column.wire.shape().empty()) {
    return decode_double(column, [&](int64_t element) { return number_of(column.at<double>(element)); });
  }
  Rcpp::Shield<SEXP> made(Rf_allocVector(REALSXP, column.length()));
  double* target = REAL(made);
  if (column.rows) std::memcpy(target, column.wire.values().data(), column.rows * sizeof(double));
  const bool any_missing = !column.wire.missing().empty();
  for (int64_t row = 0; row < column.rows; ++row) {
    if (std::isnan(target[row])) target[row] = number_of(target[row]);
    if (any_missing && column.is_missing(row)) target[row] = NA_REAL;
  }
  return made;
}

SEXP decode_int32(const Column& column) {
  bool collides = false;
  column.each([&](int64_t, int64_t element, int64_t row) {
    collides |= !column.is_missing(row) && column.at<int32_t>(element) == NA_INTEGER;
  });
  if (!collides) return decode_integer<int32_t>(column);
  return decode_double(column, [&](int64_t element) { return static_cast<double>(column.at<int32_t>(element)); });
}

SEXP as_integer64(SEXP values) {
  Rf_setAttrib(values, R_ClassSymbol, Rf_mkString("integer64"));
  return values;
}

SEXP decode_int64(const Column& column) {
  Rcpp::Shield<SEXP> made(Rf_allocVector(REALSXP, column.length()));
  double* target = REAL(made);
  column.each([&](int64_t place, int64_t element, int64_t row) {
    const int64_t value = column.is_missing(row) ? kNaInteger64 : column.at<int64_t>(element);
    if (value == kNaInteger64 && !column.is_missing(row)) {
      refuse(column.wire, row,
             "-9223372036854775808 is what R's integer64 keeps for NA: send it as text or FP64 instead");
    }
    target[place] = integer64(value);
  });
  return as_integer64(made);
}

SEXP decode_uint64(const Column& column) {
  Rcpp::Shield<SEXP> made(Rf_allocVector(REALSXP, column.length()));
  double* target = REAL(made);
  column.each([&](int64_t place, int64_t element, int64_t row) {
    const auto value = column.at<uint64_t>(element);
    if (!column.is_missing(row) && value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      refuse(column.wire, row,
             std::to_string(value) +
                 " is more than 9223372036854775807, the most that R's integer64 holds: send it as text or FP64 instead");
    }
    target[place] = integer64(column.is_missing(row) ? kNaInteger64 : static_cast<int64_t>(value));
  });
  return as_integer64(made);
}

SEXP decode_time(const Column& column, ColumnHint::Time time) {
  const bool is_date = time == ColumnHint::Time::date;
  const double unit = is_date ? kMicrosPerDay : 1e6;
  Rcpp::Shield<SEXP> made(decode_double(column, [&](int64_t element) {
    const double value = static_cast<double>(column.at<int64_t>(element)) / unit;
    return is_date ? std::floor(value) : value;
  }));
  if (is_date) {
    Rf_setAttrib(made, R_ClassSymbol, Rf_mkString("Date"));
    return made;
  }
  Rf_setAttrib(made, R_ClassSymbol, Rcpp::CharacterVector::create("POSIXct", "POSIXt"));
  Rf_setAttrib(made, Rf_install("tzone"), Rf_mkString("UTC"));
  return made;
}

SEXP decode_string(const Column& column) {
  Rcpp::Shield<SEXP> made(Rf_allocVector(STRSXP, column.length()));
  column.each([&](int64_t place, int64_t element, int64_t row) {
    const std::string& text = column.wire.strings(static_cast<int>(element));
    if (column.is_missing(row)) return SET_STRING_ELT(made, place, NA_STRING);
    if (text.find('\0') != std::string::npos) {
      refuse(column.wire, row, "the text has a NUL character, which R's strings cannot hold: send it as BYTES instead");
    }
    SET_STRING_ELT(made, place, Rf_mkCharLenCE(text.data(), static_cast<int>(text.size()), CE_UTF8));
  });
  return made;
}

SEXP decode_bytes(const Column& column) {
  Rcpp::Shield<SEXP> made(Rf_allocVector(VECSXP, column.length()));
  column.each([&](int64_t place, int64_t element, int64_t row) {
    if (column.is_missing(row)) return;  // NULL
    const std::string& blob = column.wire.blobs(static_cast<int>(element));
    SEXP octets = Rf_allocVector(RAWSXP, static_cast<R_xlen_t>(blob.size()));
    SET_VECTOR_ELT(made, place, octets);
    if (!blob.empty()) std::memcpy(RAW(octets), blob.data(), blob.size());
  });
  return made;
}

constexpr int64_t kMostExact = int64_t{1} << 53;

// Whether each value is a double exactly, so that R's arithmetic, which does not know integer64, gets it right.
bool is_exact(const Column& column) {
  bool is_exact = true;
  const bool is_signed = column.wire.type() == v1::DATA_TYPE_INT64;
  column.each([&](int64_t, int64_t element, int64_t) {
    const auto value = column.at<int64_t>(element);
    is_exact &= value <= kMostExact && value >= (is_signed ? -kMostExact : 0);
  });
  return is_exact;
}

SEXP decode_plain(const Column& column, bool int64_as_numeric) {
  const bool is_wide = column.wire.type() == v1::DATA_TYPE_INT64 || column.wire.type() == v1::DATA_TYPE_UINT64;
  if (is_wide && int64_as_numeric && is_exact(column)) {
    return decode_double(column, [&](int64_t i) { return static_cast<double>(column.at<int64_t>(i)); });
  }
  switch (column.wire.type()) {
    case v1::DATA_TYPE_BOOL: return decode_bool(column);
    case v1::DATA_TYPE_UINT8: return decode_integer<uint8_t>(column);
    case v1::DATA_TYPE_UINT16: return decode_integer<uint16_t>(column);
    case v1::DATA_TYPE_INT8: return decode_integer<int8_t>(column);
    case v1::DATA_TYPE_INT16: return decode_integer<int16_t>(column);
    case v1::DATA_TYPE_INT32: return decode_int32(column);
    case v1::DATA_TYPE_UINT32:
      return decode_double(column, [&](int64_t i) { return static_cast<double>(column.at<uint32_t>(i)); });
    case v1::DATA_TYPE_INT64: return decode_int64(column);
    case v1::DATA_TYPE_UINT64: return decode_uint64(column);
    case v1::DATA_TYPE_FP64: return decode_fp64(column);
    case v1::DATA_TYPE_STRING: return decode_string(column);
    case v1::DATA_TYPE_BYTES: return decode_bytes(column);
    default: return decode_double(column, [&](int64_t i) { return number_of(float_at(column.wire, i)); });
  }
}

SEXP as_factor(SEXP texts, const std::vector<std::string>& levels, const v1::Column& wire) {
  const R_xlen_t length = Rf_xlength(texts);
  Rcpp::Shield<SEXP> made(Rf_allocVector(INTSXP, length));
  for (R_xlen_t i = 0; i < length; ++i) {
    INTEGER(made)[i] = NA_INTEGER;
    if (STRING_ELT(texts, i) == NA_STRING) continue;
    const auto level = std::find(levels.begin(), levels.end(), CHAR(STRING_ELT(texts, i)));
    if (level == levels.end()) {
      refuse(wire, i, quoted(CHAR(STRING_ELT(texts, i))) + " is none of its levels: " + listed(levels));
    }
    INTEGER(made)[i] = static_cast<int>(level - levels.begin()) + 1;
  }
  Rcpp::CharacterVector names(static_cast<R_xlen_t>(levels.size()));
  for (size_t i = 0; i < levels.size(); ++i) {
    names[static_cast<R_xlen_t>(i)] = Rcpp::String(levels[i], CE_UTF8);
  }
  Rf_setAttrib(made, R_LevelsSymbol, names);
  Rf_setAttrib(made, R_ClassSymbol, Rf_mkString("factor"));
  return made;
}

// Gives a shaped column its dimensions, and one without elements its missing rows.
void set_shape(const Column& column, SEXP values) {
  const auto& shape = column.wire.shape();
  if (shape.empty()) return;
  Rcpp::IntegerVector dims(shape.size() + 1);
  dims[0] = static_cast<int>(column.rows);
  for (int i = 0; i < shape.size(); ++i) {
    if (shape[i] > std::numeric_limits<int>::max()) {
      refuse(column.wire, 0, "dimension " + std::to_string(shape[i]) + " is more than R's 2147483647");
    }
    dims[i + 1] = static_cast<int>(shape[i]);
  }
  Rf_setAttrib(values, R_DimSymbol, dims);
  if (column.elements || column.wire.missing().empty()) return;
  Rcpp::LogicalVector missing(column.rows);
  for (int64_t row = 0; row < column.rows; ++row) missing[row] = column.is_missing(row);
  Rf_setAttrib(values, Rf_install(kMissingAttribute), missing);
}

SEXP decode_column(const v1::Column& wire, int64_t rows, const Hints& hints) {
  const Column column(wire, rows);
  const auto hint = hints.columns.find(wire.name());
  if (hint != hints.columns.end() && wire.shape().empty()) {
    if (wire.type() == v1::DATA_TYPE_INT64 && hint->second.time != ColumnHint::Time::none) {
      return decode_time(column, hint->second.time);
    }
    if (wire.type() == v1::DATA_TYPE_STRING && !hint->second.levels.empty()) {
      Rcpp::Shield<SEXP> texts(decode_string(column));
      return as_factor(texts, hint->second.levels, wire);
    }
  }
  Rcpp::Shield<SEXP> values(decode_plain(column, hints.int64_as_numeric));
  set_shape(column, values);
  return values;
}
}  // namespace

std::vector<int64_t> column_major_places(const std::vector<int64_t>& shape) {
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return {};
  int64_t count = 1;
  for (const int64_t dimension : shape) count *= dimension;
  std::vector<int64_t> places(static_cast<size_t>(count));
  for (int64_t k = 0; k < count; ++k) {
    // Digits of k from the last dimension to the first; in R the first varies fastest.
    std::vector<int64_t> digits(shape.size());
    int64_t left = k;
    for (size_t d = shape.size(); d-- > 0; left /= shape[d]) digits[d] = left % shape[d];
    int64_t place = 0, stride = 1;
    for (size_t d = 0; d < shape.size(); stride *= shape[d++]) place += digits[d] * stride;
    places[k] = place;
  }
  return places;
}

namespace {
SEXP make_table(const v1::Frame& frame, const Hints& hints) {
  if (frame.rows() > std::numeric_limits<int>::max()) {
    throw Fault(v1::ERROR_CODE_TOO_LARGE, "the table has " + std::to_string(frame.rows()) +
                                              " rows; R's tables hold at most 2147483647: send fewer rows");
  }
  const int count = frame.columns_size();
  Rcpp::Shield<SEXP> table(Rf_allocVector(VECSXP, count));
  Rcpp::Shield<SEXP> names(Rf_allocVector(STRSXP, count));
  for (int i = 0; i < count; ++i) {
    const auto& column = frame.columns(i);
    const std::string& name = column.name();
    if (name.find('\0') != std::string::npos) {
      throw Fault(v1::ERROR_CODE_SIGNATURE_MISMATCH, "the name of column number " + std::to_string(i) +
                                                         " has a NUL character, which R cannot hold: rename it");
    }
    SET_STRING_ELT(names, i, Rf_mkCharLenCE(name.data(), static_cast<int>(name.size()), CE_UTF8));
    SET_VECTOR_ELT(table, i, decode_column(column, frame.rows(), hints));
  }
  Rf_setAttrib(table, R_NamesSymbol, names);
  Rf_setAttrib(table, R_RowNamesSymbol, Rcpp::IntegerVector::create(NA_INTEGER, -static_cast<int>(frame.rows())));
  Rf_setAttrib(table, R_ClassSymbol, Rf_mkString("data.frame"));
  return table;
}

}  // namespace

SEXP decode_frame(const v1::Frame& frame, const Hints& hints) {
  try {
    return tried([&] { return make_table(frame, hints); });
  } catch (const RError& error) {
    throw Fault(v1::ERROR_CODE_TOO_LARGE, "R cannot make the table of " + std::to_string(frame.rows()) +
                                              " rows (" + error.what() + "): send fewer rows",
                {{"actual", std::to_string(frame.rows())}});
  }
}

}  // namespace rv
