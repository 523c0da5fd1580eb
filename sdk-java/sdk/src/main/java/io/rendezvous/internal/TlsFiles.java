package io.rendezvous.internal;

import io.grpc.util.AdvancedTlsX509KeyManager;
import io.grpc.util.AdvancedTlsX509TrustManager;
import io.rendezvous.Credentials;
import io.rendezvous.InvalidRequestException;
import java.io.IOException;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.util.Map;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;

/** Authorities and own certificate, from PEM files as they are now. */
public final class TlsFiles {
    private static final long REREAD_MINUTES = 1;

    private final Credentials credentials;

    /**
     * Prepares; nothing is read yet.
     *
     * @param credentials names the files
     */
    public TlsFiles(Credentials credentials) {
        this.credentials = credentials;
    }

    /**
     * Returns what checks servers: their chain, and that it names the host.
     *
     * @param rereading reads the file every minute from now on; null: it is read once
     * @throws InvalidRequestException the file cannot be read or holds no certificate
     */
    public AdvancedTlsX509TrustManager trustManager(ScheduledExecutorService rereading) {
        return reading("RENDEZVOUS_CA", credentials.ca(), () -> {
            AdvancedTlsX509TrustManager manager =
                    AdvancedTlsX509TrustManager.newBuilder().build();
            if (credentials.ca() == null) {
                manager.useSystemDefaultTrustCerts();
            } else if (rereading == null) {
                manager.updateTrustCredentials(credentials.ca().toFile());
            } else {
                manager.updateTrustCredentials(credentials.ca().toFile(), REREAD_MINUTES, TimeUnit.MINUTES, rereading);
            }
            return manager;
        });
    }

    /**
     * Returns what shows this program's certificate; null where there is none.
     *
     * @param rereading reads the files every minute from now on; null: they are read once
     * @throws InvalidRequestException a file cannot be read or does not hold what it should
     */
    public AdvancedTlsX509KeyManager keyManager(ScheduledExecutorService rereading) {
        if (credentials.certificate() == null) {
            return null;
        }
        return reading("RENDEZVOUS_CERT", credentials.certificate(), () -> {
            AdvancedTlsX509KeyManager manager = new AdvancedTlsX509KeyManager();
            if (rereading == null) {
                manager.updateIdentityCredentials(
                        credentials.certificate().toFile(),
                        credentials.certificateKey().toFile());
            } else {
                manager.updateIdentityCredentials(
                        credentials.certificate().toFile(),
                        credentials.certificateKey().toFile(),
                        REREAD_MINUTES,
                        TimeUnit.MINUTES,
                        rereading);
            }
            return manager;
        });
    }

    /** Reads and checks all files, without keeping anything. */
    public void check() {
        if (credentials.usesTls()) {
            trustManager(null);
            keyManager(null);
        }
    }

    private interface Reading<T> {
        T read() throws IOException, GeneralSecurityException;
    }

    private static <T> T reading(String what, Path file, Reading<T> reading) {
        try {
            return reading.read();
        } catch (IOException | GeneralSecurityException | IllegalArgumentException error) {
            String shown = file == null ? "the system's authorities" : what + " (" + file + ")";
            InvalidRequestException refused = new InvalidRequestException(
                    shown + " cannot be used (" + error.getClass().getSimpleName() + ": " + error.getMessage()
                            + "): give PEM files, a private key as PKCS #8",
                    Map.of("option", what));
            refused.initCause(error);
            throw refused;
        }
    }
}
