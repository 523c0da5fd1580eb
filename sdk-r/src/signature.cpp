#include <cstring>
#include <unordered_map>
#include <unordered_set>

#include "frame.h"
#include "half.h"
#include "text.h"

namespace rv {

namespace {
[[noreturn]] void refuse(const std::string& what, const std::string& name, const std::string& fault,
                         const std::string& expected, const std::string& actual) {
  throw Fault(v1::ERROR_CODE_SIGNATURE_MISMATCH,
              what + ": column " + quoted(name) + " " + fault + ": expected " + expected + ", got " + actual,
              {{"what", what}, {"column", shown_name(name)}, {"expected", expected}, {"actual", actual}});
}

std::vector<std::string> names_of(const Specs& specs) {
  std::vector<std::string> names;
  for (const auto& spec : specs) names.push_back(spec.name());
  return names;
}

[[noreturn]] void refuse_unknown(const std::string& what, const std::string& name, const Specs& specs) {
  const std::string known = listed(names_of(specs)), nearest = nearest_name(name, names_of(specs));
  const std::string hint =
      nearest.empty() ? ": expected are " + known : ", did you mean " + quoted(nearest) + "?";
  throw Fault(v1::ERROR_CODE_SIGNATURE_MISMATCH, what + ": column " + quoted(name) + " is unknown" + hint,
              {{"what", what}, {"column", shown_name(name)}, {"expected", known}, {"nearest", nearest}});
}

[[noreturn]] void refuse_absent(const std::string& what, const v1::ColumnSpec& spec, const v1::Frame& frame) {
  std::vector<std::string> names;
  for (const auto& column : frame.columns()) names.push_back(column.name());
  const std::string expected = type_name(spec.type()) + shown_shape({spec.shape().begin(), spec.shape().end()});
  throw Fault(v1::ERROR_CODE_SIGNATURE_MISMATCH,
              what + ": column " + quoted(spec.name()) + " (" + expected + ") is absent; there are " +
                  (names.empty() ? "no columns" : listed(names)),
              {{"what", what}, {"column", shown_name(spec.name())}, {"expected", expected}});
}

// Whether all bits of the exponent are set: NaN or infinite.
template <typename Bits>
int64_t first_not_finite(const std::string& values, Bits exponent, int64_t from) {
  const int64_t count = values.size() / sizeof(Bits);
  for (int64_t i = from; i < count; ++i) {
    Bits bits;
    std::memcpy(&bits, values.data() + i * sizeof(Bits), sizeof bits);
    if ((bits & exponent) == exponent) return i;
  }
  return -1;
}

int64_t next_not_finite(const v1::Column& column, int64_t from) {
  switch (column.type()) {
    case v1::DATA_TYPE_FP16: return first_not_finite<uint16_t>(column.values(), 0x7C00, from);
    case v1::DATA_TYPE_FP32: return first_not_finite<uint32_t>(column.values(), 0x7F800000, from);
    default: return first_not_finite<uint64_t>(column.values(), 0x7FF0000000000000ULL, from);
  }
}

void check_finite(const std::string& what, const v1::Column& column) {
  const int64_t elements = elements_per_row(column);
  for (int64_t i = next_not_finite(column, 0); i >= 0; i = next_not_finite(column, i + 1)) {
    const int64_t row = i / elements;
    if (bit_of(column.missing(), row)) continue;  // what a missing row holds does not count
    const std::string actual = shown(float_at(column, i));
    throw Fault(v1::ERROR_CODE_SIGNATURE_MISMATCH,
                what + ": column " + quoted(column.name()) + " is " + actual + " in row " + std::to_string(row) +
                    ": it must be finite here",
                {{"what", what}, {"column", shown_name(column.name())}, {"row", std::to_string(row)},
                 {"actual", actual}});
  }
}

void check_column(const std::string& what, const v1::Column& column, const v1::ColumnSpec& spec,
                  bool is_any_number = false) {
  const std::string& name = column.name();
  if (column.type() != spec.type() && !(is_any_number && width_of(column.type()) > 0)) {
    refuse(what, name, "has another type", type_name(spec.type()), type_name(column.type()));
  }
  const std::vector<int64_t> shape(spec.shape().begin(), spec.shape().end());
  if (shape_of(column) != shape) {
    refuse(what, name, "has another shape", shown_shape(shape), shown_shape(shape_of(column)));
  }
  if (!spec.allow_missing() && first_missing(column) >= 0) {
    const std::string row = std::to_string(first_missing(column));
    throw Fault(v1::ERROR_CODE_SIGNATURE_MISMATCH,
                what + ": column " + quoted(name) + " is missing in row " + row +
                    ": missing values are not allowed here",
                {{"what", what}, {"column", shown_name(name)}, {"row", row}});
  }
  if (is_float(column.type()) && !spec.allow_nan()) check_finite(what, column);
}
}  // namespace

void check_signature(const v1::Frame& frame, const Specs& specs, const std::string& what) {
  if (specs.empty()) return;
  std::unordered_map<std::string, const v1::ColumnSpec*> by_name;
  for (const auto& spec : specs) by_name[spec.name()] = &spec;
  std::unordered_set<std::string> found;
  for (const auto& column : frame.columns()) {
    const auto spec = by_name.find(column.name());
    if (spec == by_name.end()) refuse_unknown(what, column.name(), specs);
    found.insert(column.name());
    check_column(what, column, *spec->second);
  }
  for (const auto& spec : specs) {
    if (!found.count(spec.name())) refuse_absent(what, spec, frame);
  }
}

v1::Frame select_inputs(const v1::Frame& frame, const Specs& specs, const std::set<std::string>& any_number) {
  std::unordered_map<std::string, const v1::Column*> by_name;
  for (const auto& column : frame.columns()) by_name[column.name()] = &column;
  v1::Frame selected;
  selected.set_rows(frame.rows());
  for (const auto& spec : specs) {
    const auto column = by_name.find(spec.name());
    if (column == by_name.end()) refuse_absent("input of the model", spec, frame);
    check_column("input of the model", *column->second, spec, any_number.count(spec.name()) > 0);
    *selected.add_columns() = *column->second;
  }
  return selected;
}

}  // namespace rv
