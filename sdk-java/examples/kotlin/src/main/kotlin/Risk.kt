import io.rendezvous.ColumnType
import io.rendezvous.Frame
import io.rendezvous.Model
import io.rendezvous.ModelDescription
import io.rendezvous.ModelServer
import kotlin.math.exp

/** A logistic regression of two coefficients; a missing duration is neither good nor bad news. */
class Risk : Model {
    override fun info() = ModelDescription.builder()
        .task("classification")
        .input("duration_months", ColumnType.INT64).allowMissing()
        .output("default_probability", ColumnType.FP64)
        .build()!!

    override fun score(inputs: Frame): Frame {
        val duration = inputs.int64("duration_months")
        val risk = DoubleArray(inputs.rows()) { row ->
            if (duration.isMissing(row)) 0.5 else 1 / (1 + exp(2.0 - duration.get(row) / 12.0))
        }
        return Frame.builder().fp64("default_probability", *risk).build()
    }
}

fun main() = ModelServer.builder(Risk()).endpoint("credit").name("kotlin").run()
