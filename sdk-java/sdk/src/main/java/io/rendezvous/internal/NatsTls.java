package io.rendezvous.internal;

import java.io.IOException;
import java.net.InetAddress;
import java.net.Socket;
import java.security.GeneralSecurityException;
import java.security.KeyManagementException;
import java.security.SecureRandom;
import java.util.List;
import java.util.regex.Pattern;
import javax.net.ssl.KeyManager;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLContextSpi;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLServerSocketFactory;
import javax.net.ssl.SSLSessionContext;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.SSLSocketFactory;
import javax.net.ssl.TrustManager;

/**
 * TLS of NATS connections: each connection reads the files as they are then, and the server's certificate must name
 * the host. jnats takes one context for the life of a connection, and checks no names.
 */
final class NatsTls extends SSLContext {
    private NatsTls(SSLContext first, TlsFiles files, List<String> hosts) {
        super(new Context(files, hosts), first.getProvider(), first.getProtocol());
    }

    /**
     * Makes a context.
     *
     * @param files read with each connection
     * @param hosts of the addresses that were given; a server that another one told of by its IP address must have the
     *     name of the first of them, as with NATS' own clients
     */
    static SSLContext of(TlsFiles files, List<String> hosts) {
        try {
            return new NatsTls(SSLContext.getInstance("TLS"), files, List.copyOf(hosts));
        } catch (GeneralSecurityException error) {
            throw new IllegalStateException("this Java has no TLS", error);
        }
    }

    private static final class Context extends SSLContextSpi {
        private final TlsFiles files;
        private final List<String> hosts;

        Context(TlsFiles files, List<String> hosts) {
            this.files = files;
            this.hosts = hosts;
        }

        private SSLContext read() {
            try {
                KeyManager own = files.keyManager(null);
                SSLContext context = SSLContext.getInstance("TLS");
                context.init(
                        own == null ? null : new KeyManager[] {own},
                        new TrustManager[] {files.trustManager(null)},
                        null);
                return context;
            } catch (GeneralSecurityException error) {
                throw new IllegalStateException("TLS cannot be set up", error);
            }
        }

        @Override
        protected SSLSocketFactory engineGetSocketFactory() {
            return new Sockets(read().getSocketFactory(), hosts);
        }

        @Override
        protected void engineInit(KeyManager[] own, TrustManager[] trusted, SecureRandom random)
                throws KeyManagementException {
            throw new KeyManagementException("already initialised from files");
        }

        @Override
        protected SSLServerSocketFactory engineGetServerSocketFactory() {
            return read().getServerSocketFactory();
        }

        @Override
        protected SSLEngine engineCreateSSLEngine() {
            return read().createSSLEngine();
        }

        @Override
        protected SSLEngine engineCreateSSLEngine(String host, int port) {
            return read().createSSLEngine(host, port);
        }

        @Override
        protected SSLSessionContext engineGetServerSessionContext() {
            return read().getServerSessionContext();
        }

        @Override
        protected SSLSessionContext engineGetClientSessionContext() {
            return read().getClientSessionContext();
        }
    }

    /** Sockets that check the server's name. */
    private static final class Sockets extends SSLSocketFactory {
        private static final Pattern IP = Pattern.compile("[0-9.]+|.*:.*");

        private final SSLSocketFactory made;
        private final List<String> hosts;

        Sockets(SSLSocketFactory made, List<String> hosts) {
            this.made = made;
            this.hosts = hosts;
        }

        private String nameOf(String host) {
            String bare = host.replaceAll("[\\[\\]]", "");
            boolean told = IP.matcher(bare).matches() && !hosts.contains(bare);
            return told ? hosts.get(0) : bare;
        }

        private static Socket checked(Socket socket) {
            SSLSocket secure = (SSLSocket) socket;
            SSLParameters parameters = secure.getSSLParameters();
            parameters.setEndpointIdentificationAlgorithm("HTTPS");
            secure.setSSLParameters(parameters);
            return secure;
        }

        @Override
        public Socket createSocket(Socket socket, String host, int port, boolean autoClose) throws IOException {
            return checked(made.createSocket(socket, nameOf(host), port, autoClose));
        }

        @Override
        public Socket createSocket(String host, int port) throws IOException {
            return checked(made.createSocket(host, port));
        }

        @Override
        public Socket createSocket(String host, int port, InetAddress own, int ownPort) throws IOException {
            return checked(made.createSocket(host, port, own, ownPort));
        }

        @Override
        public Socket createSocket(InetAddress host, int port) throws IOException {
            return checked(made.createSocket(host, port));
        }

        @Override
        public Socket createSocket(InetAddress host, int port, InetAddress own, int ownPort) throws IOException {
            return checked(made.createSocket(host, port, own, ownPort));
        }

        @Override
        public String[] getDefaultCipherSuites() {
            return made.getDefaultCipherSuites();
        }

        @Override
        public String[] getSupportedCipherSuites() {
            return made.getSupportedCipherSuites();
        }
    }
}
