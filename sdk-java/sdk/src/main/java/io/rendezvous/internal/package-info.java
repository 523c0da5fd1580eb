/** How it works inside: no part of the public interface, may change with every version. */
package io.rendezvous.internal;
