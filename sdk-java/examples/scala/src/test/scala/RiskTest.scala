import io.rendezvous.Frame
import io.rendezvous.testing.Postbox
import org.junit.jupiter.api.Assertions.assertArrayEquals
import org.junit.jupiter.api.Test

/** The model in Scala, at the in-memory postbox. */
class RiskTest:
  /** Two years are an even chance, and so is a duration that is missing. */
  @Test
  def scores(): Unit =
    val rows = Frame.builder().int64("duration_months", 24, 0).missing(Array(false, true)).build()
    val box = Postbox(Risk())
    try assertArrayEquals(Array(0.5, 0.5), box.score(rows).frame.fp64("default_probability").toArray)
    finally box.close()
