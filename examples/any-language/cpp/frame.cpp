// Frames are refused, by the column's name, before any part of them is used.
// docs/protocol.md, P40 to P52 (frames), P60 and P61 (signatures).
#include <algorithm>
#include <cmath>
#include <set>

#include "model.h"

namespace {

[[noreturn]] void invalid(const std::string& message, const std::string& column = "") {
  throw Refusal(v1::ERROR_CODE_INVALID_FRAME, message, column);
}

[[noreturn]] void mismatch(const std::string& column, const std::string& message) {
  throw Refusal(v1::ERROR_CODE_SIGNATURE_MISMATCH, message, column);
}

// Bytes an element; 0 for STRING and BYTES, -1 for what is no type.
int width_of(v1::DataType type) {
  switch (type) {
    case v1::DATA_TYPE_BOOL: case v1::DATA_TYPE_INT8: case v1::DATA_TYPE_UINT8: return 1;
    case v1::DATA_TYPE_INT16: case v1::DATA_TYPE_UINT16: case v1::DATA_TYPE_FP16: return 2;
    case v1::DATA_TYPE_INT32: case v1::DATA_TYPE_UINT32: case v1::DATA_TYPE_FP32: return 4;
    case v1::DATA_TYPE_INT64: case v1::DATA_TYPE_UINT64: case v1::DATA_TYPE_FP64: return 8;
    case v1::DATA_TYPE_STRING: case v1::DATA_TYPE_BYTES: return 0;
    default: return -1;
  }
}

template <typename Typed>  // a column or a declared one
std::string shown(const Typed& typed) {
  std::string text = v1::DataType_Name(typed.type()).substr(sizeof("DATA_TYPE_") - 1) + " of shape [";
  for (int64_t size : typed.shape()) text += (text.back() == '[' ? "" : ", ") + std::to_string(size);
  return text + "]";
}

// Saturates: a product that wrapped round could agree with a short column.
uint64_t multiply(uint64_t a, uint64_t b) {
  uint64_t product;
  return __builtin_mul_overflow(a, b, &product) ? UINT64_MAX : product;
}

void check_length(const v1::Column& column, uint64_t rows, const char* carrier, uint64_t actual, uint64_t expected) {
  if (actual == expected) return;
  invalid("`" + std::string(carrier) + "` has length " + std::to_string(actual) + ": " + std::to_string(rows) +
              " rows of " + shown(column) + " need " + std::to_string(expected),
          column.name());
}

void check_missing(const v1::Column& column, uint64_t rows) {
  const std::string& missing = column.missing();
  if (missing.empty()) return;
  const uint64_t needed = rows / 8 + (rows % 8 != 0);
  if (missing.size() != needed) {
    invalid("missing bitmap has " + std::to_string(missing.size()) + " bytes: " + std::to_string(rows) +
                " rows need " + std::to_string(needed),
            column.name());
  }
  if (rows % 8 != 0 && static_cast<unsigned char>(missing.back()) >> (rows % 8) != 0) {
    invalid("missing bitmap has bits set beyond row " + std::to_string(rows - 1) + ": spare bits must be 0",
            column.name());
  }
}

void check_column(const v1::Column& column, uint64_t rows) {
  const int width = width_of(column.type());
  if (width < 0) invalid("type " + std::to_string(column.type()) + " is unknown", column.name());
  if (column.shape_size() > 8) {
    invalid("shape has " + std::to_string(column.shape_size()) + " dimensions: at most 8 are allowed", column.name());
  }
  uint64_t elements = rows;
  for (int64_t size : column.shape()) {
    if (size < 0) invalid(shown(column) + " has a negative dimension", column.name());
    elements = multiply(elements, static_cast<uint64_t>(size));
  }
  check_length(column, rows, "values", column.values().size(), multiply(elements, width));
  check_length(column, rows, "strings", column.strings_size(), column.type() == v1::DATA_TYPE_STRING ? elements : 0);
  check_length(column, rows, "blobs", column.blobs_size(), column.type() == v1::DATA_TYPE_BYTES ? elements : 0);
  if (column.type() == v1::DATA_TYPE_BOOL) {
    const auto& values = column.values();
    const auto at = std::find_if(values.begin(), values.end(), [](unsigned char octet) { return octet > 1; });
    if (at != values.end()) {
      invalid("BOOL element " + std::to_string(at - values.begin()) + " must be the byte 0 or 1", column.name());
    }
  }
  check_missing(column, rows);
}

// Knows scalar FP64 columns, the only floating-point ones of this model.
void check_rows(const Column& column, const v1::ColumnSpec& spec, int64_t rows) {
  const bool must_be_finite = spec.type() == v1::DATA_TYPE_FP64 && !spec.allow_nan();
  for (int64_t row = 0; row < rows; ++row) {
    if (column.missing(row)) {  // what a missing row holds is not looked at
      if (spec.allow_missing()) continue;
      mismatch(spec.name(), "is missing in row " + std::to_string(row) + ": missing values are not allowed here");
    }
    if (must_be_finite && !std::isfinite(column.fp64(row))) {
      const std::string value = std::to_string(column.fp64(row));
      mismatch(spec.name(), "is " + value + " in row " + std::to_string(row) + ": it must be finite here");
    }
  }
}

}  // namespace

void check_frame(const v1::Frame& frame) {
  if (frame.rows() < 0) invalid("rows is " + std::to_string(frame.rows()) + ": it must not be negative");
  std::set<std::string> seen;
  for (const v1::Column& column : frame.columns()) {
    if (column.name().empty()) invalid("column " + std::to_string(seen.size()) + " has no name: name it");
    if (!seen.insert(column.name()).second) invalid("is there twice: names must be unique", column.name());
    check_column(column, static_cast<uint64_t>(frame.rows()));
  }
}

Columns check_signature(const v1::Frame& frame, const v1::Signature& signature) {
  Columns columns;
  const auto& specs = signature.inputs();
  for (const v1::Column& column : frame.columns()) {
    const auto is_it = [&](const v1::ColumnSpec& spec) { return spec.name() == column.name(); };
    const auto spec = std::find_if(specs.begin(), specs.end(), is_it);
    if (spec == specs.end()) mismatch(column.name(), "is unknown: the model does not take it");
    if (column.type() != spec->type() || shown(column) != shown(*spec)) {
      mismatch(column.name(), "expected " + shown(*spec) + ", got " + shown(column));
    }
    check_rows(columns.emplace(column.name(), column).first->second, *spec, frame.rows());
  }
  for (const v1::ColumnSpec& spec : specs) {
    if (columns.count(spec.name()) == 0) mismatch(spec.name(), "is absent: expected " + shown(spec));
  }
  return columns;
}
