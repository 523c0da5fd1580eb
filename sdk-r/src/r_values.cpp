#include "r_values.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "r_frame.h"
#include "text.h"

namespace rv {

namespace {
constexpr int64_t kNaInteger64 = std::numeric_limits<int64_t>::min();
constexpr double kMicrosPerDay = 86400e6;

Values::Kind kind_of_vector(const std::string& name, SEXP source) {
  switch (TYPEOF(source)) {
    case LGLSXP: return Values::Kind::logical;
    case INTSXP: return Values::Kind::integer;
    case REALSXP: return Values::Kind::real;
    case STRSXP: return Values::Kind::text;
    case RAWSXP: return Values::Kind::raw;
    case VECSXP: return Values::Kind::raws;
    default: break;
  }
  refuse_column(name,
                std::string("values of type ") + Rf_type2char(TYPEOF(source)) +
                    " have no type in a frame: use numbers, text, logical or raw",
                {{"actual", Rf_type2char(TYPEOF(source))}});
}

// A class is an attribute that anybody can set: what is stored under it must be what the class is made of.
struct ClassFacts {
  const char* name;
  Values::Kind kind;
  bool may_be_integer;
  bool may_be_double;
};

constexpr ClassFacts kClasses[] = {{"factor", Values::Kind::factor, true, false},
                                   {"integer64", Values::Kind::integer64, false, true},
                                   {"Date", Values::Kind::date, true, true},
                                   {"POSIXct", Values::Kind::posixct, true, true}};

void check_factor(const std::string& name, SEXP source) {
  const Rcpp::Shield<SEXP> levels(Rf_getAttrib(source, R_LevelsSymbol));
  if (TYPEOF(levels) != STRSXP) refuse_column(name, "is a factor without levels: make it with factor()");
  const int* codes = INTEGER(source);
  const auto count = static_cast<int64_t>(Rf_xlength(levels));
  for (R_xlen_t i = 0; i < Rf_xlength(source); ++i) {
    if (codes[i] == NA_INTEGER || (codes[i] >= 1 && codes[i] <= count)) continue;
    refuse_column(name,
                  "is a factor whose element " + std::to_string(i + 1) + " has the code " + std::to_string(codes[i]) +
                      ", of " + std::to_string(count) + " levels: make it with factor()",
                  {{"element", std::to_string(i)}, {"actual", std::to_string(codes[i])},
                   {"limit", std::to_string(count)}});
  }
}

Values::Kind kind_of(const std::string& name, SEXP source) {
  for (const auto& facts : kClasses) {
    if (!Rf_inherits(source, facts.name)) continue;
    const int type = TYPEOF(source);
    if (!(type == INTSXP && facts.may_be_integer) && !(type == REALSXP && facts.may_be_double)) {
      refuse_column(name, std::string("is of class ") + facts.name + ", but holds values of type " +
                              Rf_type2char(TYPEOF(source)) + ": make it with the functions of its class",
                    {{"expected", facts.name}, {"actual", Rf_type2char(TYPEOF(source))}});
    }
    if (facts.kind == Values::Kind::factor) check_factor(name, source);
    return facts.kind;
  }
  for (const char* other : {"POSIXlt", "difftime", "data.frame"}) {
    if (!Rf_inherits(source, other)) continue;
    refuse_column(name, std::string("values of class ") + other + " have no type in a frame: use " +
                            (std::strcmp(other, "POSIXlt") == 0 ? "as.POSIXct()" : "numbers") + " instead",
                  {{"actual", other}});
  }
  return kind_of_vector(name, source);
}
}  // namespace

void refuse_column(const std::string& name, const std::string& message, Attributes attributes) {
  v1::Error error = Fault(v1::ERROR_CODE_INVALID_FRAME, "column " + quoted(name) + ": " + message, attributes).error();
  (*error.mutable_attributes())["column"] = shown_name(name);
  throw Fault(error);
}

Values::Values(const std::string& name, SEXP source)
    : name(name), source(source), kind(kind_of(name, source)), marks_(R_NilValue) {
  set_shape();
  if (kind == Kind::raws) check_raws();
  if (elements == 0) marks_ = Rf_getAttrib(source, Rf_install(kMissingAttribute));
}

void Values::set_shape() {
  const Rcpp::Shield<SEXP> dims(Rf_getAttrib(source, R_DimSymbol));
  if (Rf_isNull(dims)) {
    rows = Rf_xlength(source);
  } else {
    rows = INTEGER(dims)[0];
    for (R_xlen_t d = 1; d < Rf_xlength(dims); ++d) shape.push_back(INTEGER(dims)[d]);
  }
  if (shape.size() > static_cast<size_t>(kMaxRank)) {
    refuse_column(name, std::to_string(shape.size()) + " dimensions a row: at most 8 are allowed");
  }
  if (rows) places_ = column_major_places(shape);
  elements = static_cast<int64_t>(places_.size());
}

void Values::check_raws() const {
  for (R_xlen_t i = 0; i < Rf_xlength(source); ++i) {
    const SEXP element = VECTOR_ELT(source, i);
    if (Rf_isNull(element) || TYPEOF(element) == RAWSXP) continue;
    refuse_column(name,
                  "element " + std::to_string(i + 1) + " of the list is of type " + Rf_type2char(TYPEOF(element)) +
                      ": a list holds raw vectors (BYTES) and NULL; write values of one shape as a matrix with one "
                      "row a row",
                  {{"actual", Rf_type2char(TYPEOF(element))}});
  }
}

v1::DataType Values::natural_type() const {
  switch (kind) {
    case Kind::logical: return v1::DATA_TYPE_BOOL;
    case Kind::integer: return v1::DATA_TYPE_INT32;
    case Kind::real: return v1::DATA_TYPE_FP64;
    case Kind::text:
    case Kind::factor: return v1::DATA_TYPE_STRING;
    case Kind::raw: return v1::DATA_TYPE_UINT8;
    case Kind::raws: return v1::DATA_TYPE_BYTES;
    default: return v1::DATA_TYPE_INT64;
  }
}

bool Values::is_all_na_logical() const {
  if (kind != Kind::logical) return false;
  const int* values = LOGICAL(source);
  for (R_xlen_t i = 0; i < Rf_xlength(source); ++i) {
    if (values[i] != NA_LOGICAL) return false;
  }
  return true;
}

double Values::real_at(R_xlen_t place) const {
  if (TYPEOF(source) != INTSXP) return REAL(source)[place];
  return INTEGER(source)[place] == NA_INTEGER ? NA_REAL : INTEGER(source)[place];
}

bool Values::is_missing(R_xlen_t place) const {
  switch (kind) {
    case Kind::logical: return LOGICAL(source)[place] == NA_LOGICAL;
    case Kind::integer: return INTEGER(source)[place] == NA_INTEGER;
    case Kind::real: return R_IsNA(REAL(source)[place]);
    case Kind::integer64: return number_at(place).whole == kNaInteger64;
    case Kind::date:
    case Kind::posixct: return std::isnan(real_at(place));
    case Kind::text:
    case Kind::factor: return text_at(place) == NA_STRING;
    case Kind::raws: return Rf_isNull(VECTOR_ELT(source, place));
    default: return false;
  }
}

bool Values::is_marked_missing(int64_t row) const {
  return TYPEOF(marks_) == LGLSXP && Rf_xlength(marks_) == rows && LOGICAL(marks_)[row] == 1;
}

const char* Values::described() const {
  switch (kind) {
    case Kind::logical: return "logical values";
    case Kind::integer: return "integer values";
    case Kind::real: return "numeric values";
    case Kind::integer64: return "integer64 values";
    case Kind::date: return "Date values";
    case Kind::posixct: return "POSIXct values";
    case Kind::text: return "character values";
    case Kind::factor: return "factor values";
    default: return "raw values";
  }
}

Number Values::number_at(R_xlen_t place) const {
  switch (kind) {
    case Kind::logical: return {true, LOGICAL(source)[place], 0};
    case Kind::integer: return {true, INTEGER(source)[place], 0};
    case Kind::raw: return {true, RAW(source)[place], 0};
    case Kind::integer64: {
      int64_t whole;
      std::memcpy(&whole, &REAL(source)[place], sizeof whole);
      return {true, whole, 0};
    }
    case Kind::date:
    case Kind::posixct: {
      const double micros = real_at(place) * (kind == Kind::date ? kMicrosPerDay : 1e6);
      if (!(std::fabs(micros) < 9.2e18)) return {false, 0, micros};
      return {true, static_cast<int64_t>(std::llround(micros)), 0};
    }
    default: return {false, 0, REAL(source)[place]};
  }
}

SEXP Values::text_at(R_xlen_t place) const {
  if (kind != Kind::factor) return STRING_ELT(source, place);
  const int code = INTEGER(source)[place];
  return code == NA_INTEGER ? NA_STRING : STRING_ELT(Rf_getAttrib(source, R_LevelsSymbol), code - 1);
}

std::string Values::blob_at(R_xlen_t place) const {
  if (kind == Kind::raw) return std::string(1, static_cast<char>(RAW(source)[place]));
  if (kind != Kind::raws) return "";
  const SEXP octets = VECTOR_ELT(source, place);
  return std::string(reinterpret_cast<const char*>(RAW(octets)), Rf_xlength(octets));
}

std::string utf8_of(SEXP text, const std::string& column, int64_t element) {
  if (Rf_getCharCE(text) == CE_BYTES) {
    refuse_column(column, "element " + std::to_string(element) + " is marked as bytes: give its encoding, or raw vectors");
  }
  const void* mark = vmaxget();
  std::string utf8 = Rf_translateCharUTF8(text);
  vmaxset(mark);
  const int64_t bad = first_bad_utf8(utf8.data(), utf8.size());
  if (bad >= 0) {
    refuse_column(column, "element " + std::to_string(element) + " is not valid UTF-8 at byte " + std::to_string(bad) +
                              ": repair the text, or set its Encoding()",
                  {{"element", std::to_string(element)}});
  }
  return utf8;
}

}  // namespace rv
