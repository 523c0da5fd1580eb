/**
 * Serve models to Rendezvous endpoints, and call them, from the JVM.
 *
 * <p>A model author needs {@link io.rendezvous.Model}, {@link io.rendezvous.Frame} and
 * {@link io.rendezvous.ModelServer}; a client {@link io.rendezvous.Client} or {@link io.rendezvous.AsyncClient};
 * a test {@link io.rendezvous.testing.Postbox}.
 */
package io.rendezvous;
