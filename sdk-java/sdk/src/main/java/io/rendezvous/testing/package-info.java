/** Doubles for tests of models. */
package io.rendezvous.testing;
