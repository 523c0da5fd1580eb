import io.rendezvous.{ColumnType, Frame, Model, ModelDescription, ModelServer}

import scala.math.exp

/** A logistic regression of two coefficients; a missing duration is neither good nor bad news. */
class Risk extends Model:
  override def info = ModelDescription
    .builder()
    .task("classification")
    .input("duration_months", ColumnType.INT64)
    .allowMissing()
    .output("default_probability", ColumnType.FP64)
    .build()

  override def score(inputs: Frame): Frame =
    val duration = inputs.int64("duration_months")
    val risk = Array.tabulate(inputs.rows): row =>
      if duration.isMissing(row) then 0.5 else 1 / (1 + exp(2.0 - duration.get(row) / 12.0))
    Frame.builder().fp64("default_probability", risk*).build()

object Risk:
  def main(arguments: Array[String]): Unit =
    ModelServer.builder(Risk()).endpoint("credit").name("scala").run()
