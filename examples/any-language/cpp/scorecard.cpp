// The scorecard itself: what it takes, what it gives, how it scores.
// This file is what you change for a model of your own; frame.cpp, main.cpp and model.h stay as they are.
#include <cmath>

#include "model.h"

namespace {

v1::ColumnSpec column(const char* name, v1::DataType type, bool allow_missing = false) {
  v1::ColumnSpec spec;
  spec.set_name(name);
  spec.set_type(type);
  spec.set_allow_missing(allow_missing);
  return spec;
}

v1::Column* add_column(v1::Frame& frame, const v1::ColumnSpec& spec) {
  v1::Column* added = frame.add_columns();
  added->set_name(spec.name());
  added->set_type(spec.type());
  return added;
}

}  // namespace

v1::Signature signature() {
  v1::Signature signature;
  *signature.add_inputs() = column("checking_account", v1::DATA_TYPE_STRING, true);
  *signature.add_inputs() = column("duration_months", v1::DATA_TYPE_INT64);
  *signature.add_inputs() = column("credit_amount", v1::DATA_TYPE_FP64, true);
  *signature.add_inputs() = column("age_years", v1::DATA_TYPE_INT64);
  *signature.add_outputs() = column("default_probability", v1::DATA_TYPE_FP64);
  *signature.add_outputs() = column("label", v1::DATA_TYPE_STRING);
  return signature;
}

v1::ModelInfo description() {
  v1::ModelInfo info;
  info.set_task("classification");
  info.add_labels("good");
  info.add_labels("bad");
  info.set_description("A scorecard of hand-written rules.");
  return info;
}

// Follows the table in the README beside this folder.
void score(const Columns& columns, v1::Frame& outputs) {
  static const v1::Signature declared = signature();
  const Column account = columns.at("checking_account"), months = columns.at("duration_months");
  const Column amount = columns.at("credit_amount"), age = columns.at("age_years");
  std::string& probabilities = *add_column(outputs, declared.outputs(0))->mutable_values();
  auto& labels = *add_column(outputs, declared.outputs(1))->mutable_strings();
  probabilities.resize(outputs.rows() * sizeof(double));
  labels.Reserve(static_cast<int>(outputs.rows()));

  for (int64_t row = 0; row < outputs.rows(); ++row) {
    double points = 15;
    if (account.missing(row)) {
      points -= 5;
    } else if (account.string(row) == "... < 0 DM") {
      points -= 15;
    } else if (account.string(row) == "no checking account") {
      points += 15;
    }
    if (months.int64(row) <= 12) {
      points += 10;
    } else if (months.int64(row) > 36) {
      points -= 10;
    }
    if (age.int64(row) < 25) points -= 5;
    points -= amount.missing(row) ? 8 : amount.fp64(row) / 1000;

    const double probability = 1 / (1 + std::exp2(points / 15));
    std::memcpy(&probabilities[row * sizeof(double)], &probability, sizeof(double));
    labels.Add(probability >= 0.5 ? "bad" : "good");
  }
}
