// Messages as R's lists.

#include "r_model.h"

namespace rv {

namespace {
std::string text_in(const Rcpp::List& list, const char* name) {
  if (!list.containsElementNamed(name) || Rf_isNull(list[name])) return "";
  return Rcpp::as<std::string>(list[name]);
}

double number_in(const Rcpp::List& list, const char* name) {
  if (!list.containsElementNamed(name) || Rf_isNull(list[name])) return 0;
  return Rcpp::as<double>(list[name]);
}

bool flag_in(const Rcpp::List& list, const char* name) {
  return list.containsElementNamed(name) && Rcpp::as<bool>(list[name]);
}

Rcpp::List list_in(const Rcpp::List& list, const char* name) {
  if (!list.containsElementNamed(name) || Rf_isNull(list[name])) return Rcpp::List();
  return Rcpp::List(static_cast<SEXP>(list[name]));
}

void add_spec(const Rcpp::List& column, Specs* specs) {
  auto* spec = specs->Add();
  spec->set_name(text_in(column, "name"));
  const std::string type = text_in(column, "type");
  if (!type.empty()) spec->set_type(type_number(spec->name(), type));
  for (const double dimension : Rcpp::as<Rcpp::NumericVector>(column["shape"])) {
    spec->add_shape(static_cast<int64_t>(dimension));
  }
  spec->set_allow_missing(flag_in(column, "allow_missing"));
  spec->set_allow_nan(flag_in(column, "allow_nan"));
  spec->set_description(text_in(column, "description"));
}

Rcpp::List list_of_specs(const Specs& specs) {
  Rcpp::List list;
  for (const auto& spec : specs) {
    list[spec.name()] = Rcpp::List::create(
        Rcpp::_["name"] = spec.name(), Rcpp::_["type"] = type_name(spec.type()),
        Rcpp::_["shape"] = Rcpp::NumericVector(spec.shape().begin(), spec.shape().end()),
        Rcpp::_["allow_missing"] = spec.allow_missing(), Rcpp::_["allow_nan"] = spec.allow_nan(),
        Rcpp::_["description"] = spec.description());
  }
  return list;
}

void set_training(const Rcpp::List& given, v1::ModelInfo* info) {
  if (given.size() == 0) return;
  auto* training = info->mutable_training();
  training->set_data_reference(text_in(given, "data_reference"));
  training->set_data_sha256(text_in(given, "data_sha256"));
  training->set_trained_unix_us(static_cast<int64_t>(number_in(given, "trained_unix_us")));
  const Rcpp::List metrics = list_in(given, "metrics");
  if (metrics.size() == 0) return;
  const Rcpp::CharacterVector names = metrics.names();
  for (R_xlen_t i = 0; i < metrics.size(); ++i) {
    (*training->mutable_metrics())[Rcpp::as<std::string>(names[i])] = Rcpp::as<double>(metrics[i]);
  }
}

Rcpp::List list_of_training(const v1::Training& training) {
  Rcpp::NumericVector metrics;
  for (const auto& [name, value] : training.metrics()) metrics[name] = value;
  return Rcpp::List::create(Rcpp::_["data_reference"] = training.data_reference(),
                            Rcpp::_["data_sha256"] = training.data_sha256(),
                            Rcpp::_["trained_unix_us"] = static_cast<double>(training.trained_unix_us()),
                            Rcpp::_["metrics"] = metrics);
}
}  // namespace

v1::ModelInfo info_of(const Rcpp::List& list) {
  v1::ModelInfo info;
  info.set_name(text_in(list, "name"));
  info.set_version(text_in(list, "version"));
  info.set_language("r");
  info.set_runtime(text_in(list, "runtime"));
  info.set_task(text_in(list, "task"));
  info.set_description(text_in(list, "description"));
  info.set_sdk(text_in(list, "sdk"));
  auto* signature = info.mutable_signature();
  for (SEXP column : list_in(list, "inputs")) add_spec(Rcpp::List(column), signature->mutable_inputs());
  for (SEXP column : list_in(list, "outputs")) add_spec(Rcpp::List(column), signature->mutable_outputs());
  for (SEXP label : list_in(list, "labels")) info.add_labels(Rcpp::as<std::string>(label));
  const Rcpp::List source = list_in(list, "source_control");
  if (source.size()) {
    info.mutable_source_control()->set_repository(text_in(source, "repository"));
    info.mutable_source_control()->set_commit(text_in(source, "commit"));
    info.mutable_source_control()->set_dirty(flag_in(source, "dirty"));
  }
  set_training(list_in(list, "training"), &info);
  for (SEXP each : list_in(list, "packages")) {
    auto* package = info.add_packages();
    package->set_name(text_in(Rcpp::List(each), "name"));
    package->set_version(text_in(Rcpp::List(each), "version"));
  }
  return info;
}

Rcpp::List list_of(const v1::ModelInfo& info) {
  Rcpp::CharacterVector labels, packages;
  for (const auto& label : info.labels()) labels.push_back(Rcpp::String(label, CE_UTF8));
  for (const auto& package : info.packages()) packages[package.name()] = package.version();
  const auto& source = info.source_control();
  return Rcpp::List::create(
      Rcpp::_["name"] = info.name(), Rcpp::_["version"] = info.version(), Rcpp::_["language"] = info.language(),
      Rcpp::_["runtime"] = info.runtime(), Rcpp::_["inputs"] = list_of_specs(info.signature().inputs()),
      Rcpp::_["outputs"] = list_of_specs(info.signature().outputs()), Rcpp::_["task"] = info.task(),
      Rcpp::_["labels"] = labels,
      Rcpp::_["source_control"] =
          Rcpp::List::create(Rcpp::_["repository"] = source.repository(), Rcpp::_["commit"] = source.commit(),
                             Rcpp::_["dirty"] = source.dirty()),
      Rcpp::_["training"] = list_of_training(info.training()), Rcpp::_["packages"] = packages,
      Rcpp::_["description"] = info.description(), Rcpp::_["sdk"] = info.sdk());
}

Hints hints_of(const Rcpp::List& inputs, bool int64_as_numeric) {
  Hints hints;
  hints.int64_as_numeric = int64_as_numeric;
  for (SEXP each : inputs) {
    const Rcpp::List column(each);
    ColumnHint hint;
    const std::string time = text_in(column, "time");
    if (time == "Date") hint.time = ColumnHint::Time::date;
    if (time == "POSIXct") hint.time = ColumnHint::Time::posixct;
    if (column.containsElementNamed("levels") && !Rf_isNull(column["levels"])) {
      hint.levels = Rcpp::as<std::vector<std::string>>(column["levels"]);
    }
    const std::string name = text_in(column, "name");
    if (flag_in(column, "any_number")) hints.any_number.insert(name);
    if (hint.time != ColumnHint::Time::none || !hint.levels.empty()) hints.columns[name] = hint;
  }
  return hints;
}

Rcpp::List fault_list(const v1::Error& error) {
  Rcpp::CharacterVector attributes;
  for (const auto& [name, value] : error.attributes()) attributes[name] = Rcpp::String(value, CE_UTF8);
  Rcpp::List list = Rcpp::List::create(Rcpp::_["code"] = static_cast<int>(error.code()),
                                       Rcpp::_["message"] = Rcpp::String(error.message(), CE_UTF8),
                                       Rcpp::_["attributes"] = attributes);
  list.attr("class") = "rdv_fault";
  return list;
}

Rcpp::List list_of(const v1::Timing& timing) {
  return Rcpp::List::create(Rcpp::_["received_unix_us"] = static_cast<double>(timing.received_unix_us()),
                            Rcpp::_["started_unix_us"] = static_cast<double>(timing.started_unix_us()),
                            Rcpp::_["finished_unix_us"] = static_cast<double>(timing.finished_unix_us()));
}

}  // namespace rv
