/** PMML files as models. */
package io.rendezvous.pmml;
