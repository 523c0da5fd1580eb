/** How log lines look: formatters for {@code java.util.logging}. */
package io.rendezvous.logging;
