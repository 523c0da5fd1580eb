#include <algorithm>
#include <cmath>
#include <limits>

#include "half.h"
#include "r_frame.h"
#include "r_values.h"
#include "text.h"

namespace rv {

namespace {
[[noreturn]] void refuse_type(const Values& values, v1::DataType wanted) {
  refuse_column(values.name, std::string(values.described()) + " do not fit type " + type_name(wanted) +
                                 ": convert them first",
                {{"expected", type_name(wanted)}, {"actual", values.described()}});
}

[[noreturn]] void refuse_value(const Values& values, const Number& number, v1::DataType wanted) {
  refuse_column(values.name,
                (number.is_whole ? std::to_string(number.whole) : shown(number.real)) + " does not fit type " +
                    type_name(wanted) + ": it is out of range, not a whole number or NaN",
                {{"expected", type_name(wanted)}});
}

template <typename Wire>
void append(std::string* values, Wire value) {
  values->append(reinterpret_cast<const char*>(&value), sizeof value);
}

// The number as an integer of the wire's type, or a refusal.
template <typename Wire>
Wire whole_of(const Values& values, const Number& number, v1::DataType wanted) {
  using Limits = std::numeric_limits<Wire>;
  if (number.is_whole) {
    const bool is_below = Limits::is_signed ? number.whole < static_cast<int64_t>(Limits::min()) : number.whole < 0;
    const bool is_above = number.whole > 0 && static_cast<uint64_t>(number.whole) > static_cast<uint64_t>(Limits::max());
    if (is_below || is_above) refuse_value(values, number, wanted);
    return static_cast<Wire>(number.whole);
  }
  const double least = static_cast<double>(Limits::min()), most = std::ldexp(1.0, Limits::digits);
  if (!(number.real >= least && number.real < most) || std::floor(number.real) != number.real) {
    refuse_value(values, number, wanted);
  }
  return static_cast<Wire>(number.real);
}

double canonical(double value) { return std::isnan(value) ? std::numeric_limits<double>::quiet_NaN() : value; }

void append_number(const Values& values, const Number& number, v1::DataType wanted, std::string* out) {
  const double real = canonical(number.is_whole ? static_cast<double>(number.whole) : number.real);
  switch (wanted) {
    case v1::DATA_TYPE_BOOL: {
      const auto octet = whole_of<uint8_t>(values, number, wanted);
      if (octet > 1) refuse_value(values, number, wanted);
      return append(out, octet);
    }
    case v1::DATA_TYPE_UINT8: return append(out, whole_of<uint8_t>(values, number, wanted));
    case v1::DATA_TYPE_UINT16: return append(out, whole_of<uint16_t>(values, number, wanted));
    case v1::DATA_TYPE_UINT32: return append(out, whole_of<uint32_t>(values, number, wanted));
    case v1::DATA_TYPE_UINT64: return append(out, whole_of<uint64_t>(values, number, wanted));
    case v1::DATA_TYPE_INT8: return append(out, whole_of<int8_t>(values, number, wanted));
    case v1::DATA_TYPE_INT16: return append(out, whole_of<int16_t>(values, number, wanted));
    case v1::DATA_TYPE_INT32: return append(out, whole_of<int32_t>(values, number, wanted));
    case v1::DATA_TYPE_INT64: return append(out, whole_of<int64_t>(values, number, wanted));
    case v1::DATA_TYPE_FP16: {
      const uint16_t bits = double_to_half(real);
      if (std::isfinite(real) && !std::isfinite(half_to_double(bits))) refuse_value(values, number, wanted);
      return append(out, bits);
    }
    case v1::DATA_TYPE_FP32: {
      const auto narrow = static_cast<float>(real);
      if (std::isfinite(real) && !std::isfinite(narrow)) refuse_value(values, number, wanted);
      return append(out, narrow);
    }
    default: return append(out, real);
  }
}

// Scalars of R's double to FP64: the common case, copied as a whole.
void encode_doubles(const Values& values, v1::Column* column) {
  const double* source = REAL(values.source);
  std::string* out = column->mutable_values();
  out->assign(reinterpret_cast<const char*>(source), values.rows * sizeof(double));
  std::string missing;
  for (int64_t row = 0; row < values.rows; ++row) {
    if (!std::isnan(source[row])) continue;
    double value = std::numeric_limits<double>::quiet_NaN();
    if (R_IsNA(source[row])) {
      if (missing.empty()) missing.assign((values.rows + 7) / 8, '\0');
      set_bit(&missing, row);
      value = 0;
    }
    std::memcpy(&(*out)[row * sizeof(double)], &value, sizeof value);
  }
  column->set_missing(std::move(missing));
}

void encode_numbers(const Values& values, v1::DataType wanted, v1::Column* column) {
  std::string* out = column->mutable_values();
  out->reserve(values.rows * values.elements * width_of(wanted));
  for (int64_t row = 0; row < values.rows; ++row) {
    const bool is_missing = bit_of(column->missing(), row);
    for (int64_t k = 0; k < values.elements; ++k) {
      if (is_missing) {
        out->append(width_of(wanted), '\0');
      } else {
        append_number(values, values.number_at(values.place(row, k)), wanted, out);
      }
    }
  }
}

void encode_texts(const Values& values, v1::Column* column) {
  for (int64_t row = 0; row < values.rows; ++row) {
    const bool is_missing = bit_of(column->missing(), row);
    for (int64_t k = 0; k < values.elements; ++k) {
      std::string* text = column->add_strings();
      if (!is_missing) *text = utf8_of(values.text_at(values.place(row, k)), values.name, row * values.elements + k);
    }
  }
}

void encode_blobs(const Values& values, v1::Column* column) {
  for (int64_t row = 0; row < values.rows; ++row) {
    const bool is_missing = bit_of(column->missing(), row);
    for (int64_t k = 0; k < values.elements; ++k) {
      std::string* blob = column->add_blobs();
      if (!is_missing) *blob = values.blob_at(values.place(row, k));
    }
  }
}

// Which rows are missing: those all of whose elements are NA. One of which some are is refused.
std::string missing_rows(const Values& values) {
  std::string bitmap((values.rows + 7) / 8, '\0');
  bool any = false;
  for (int64_t row = 0; row < values.rows; ++row) {
    int64_t gone = 0;
    for (int64_t k = 0; k < values.elements; ++k) gone += values.is_missing(values.place(row, k));
    if (values.elements == 0) gone = values.is_marked_missing(row);
    if (gone == 0) continue;
    if (gone < values.elements) {
      refuse_column(values.name, "row " + std::to_string(row + 1) + " is missing in part: NA must fill a whole row",
                    {{"row", std::to_string(row)}});
    }
    set_bit(&bitmap, row);
    any = true;
  }
  return any ? bitmap : "";
}

bool is_fitting(const Values& values, v1::DataType wanted) {
  if (values.is_all_na_logical()) return true;
  if (wanted == v1::DATA_TYPE_STRING) return values.kind == Values::Kind::text || values.kind == Values::Kind::factor;
  if (wanted == v1::DATA_TYPE_BYTES) return values.kind == Values::Kind::raws || values.kind == Values::Kind::raw;
  return values.is_number();
}
}  // namespace

int64_t encode_column(const std::string& name, SEXP source, v1::DataType wanted, v1::Frame* frame) {
  const Values values(name, source);
  if (wanted == v1::DATA_TYPE_UNSPECIFIED) wanted = values.natural_type();
  if (!is_fitting(values, wanted)) refuse_type(values, wanted);
  v1::Column* column = frame->add_columns();
  column->set_name(name);
  column->set_type(wanted);
  for (const int64_t dimension : values.shape) column->add_shape(dimension);
  if (values.kind == Values::Kind::real && wanted == v1::DATA_TYPE_FP64 && values.shape.empty()) {
    encode_doubles(values, column);
    return values.rows;
  }
  column->set_missing(missing_rows(values));
  if (wanted == v1::DATA_TYPE_STRING) {
    encode_texts(values, column);
  } else if (wanted == v1::DATA_TYPE_BYTES) {
    encode_blobs(values, column);
  } else {
    encode_numbers(values, wanted, column);
  }
  return values.rows;
}

}  // namespace rv
