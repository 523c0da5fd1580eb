package io.rendezvous;

import io.grpc.CallCredentials;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ChannelCredentials;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.ClientInterceptors;
import io.grpc.InsecureChannelCredentials;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.TlsChannelCredentials;
import io.rendezvous.internal.Key;
import io.rendezvous.internal.TlsFiles;
import java.util.concurrent.Executor;
import java.util.concurrent.ScheduledExecutorService;
import javax.net.ssl.KeyManager;

/**
 * Key and TLS of one client.
 *
 * @param credentials of the channel
 * @param key shown with each call; null: none
 */
record Connecting(ChannelCredentials credentials, Key key) {
    private static final Metadata.Key<String> AUTHORIZATION =
            Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

    /**
     * Reads the files and checks that the key does not leave this machine in the clear.
     *
     * @param wanted what the environment had left open is filled in
     * @param given the caller's own; null: as wanted says
     * @param rereading reads the files of certificates again, every minute
     */
    static Connecting of(
            ServerAddress server, Credentials wanted, ChannelCredentials given, ScheduledExecutorService rereading) {
        ChannelCredentials credentials = given == null ? credentials(wanted, rereading) : given;
        Key key = Key.of(wanted);
        Key.checkWay(key, wanted, !(credentials instanceof InsecureChannelCredentials), server.host());
        return new Connecting(credentials, key);
    }

    /** Shows the key with every call over a channel. */
    Channel keyed(Channel channel) {
        if (key == null) {
            return channel;
        }
        CallCredentials bearer = new Bearer(key);
        return ClientInterceptors.intercept(channel, new ClientInterceptor() {
            @Override
            public <Q, R> ClientCall<Q, R> interceptCall(
                    MethodDescriptor<Q, R> method, CallOptions options, Channel next) {
                return next.newCall(method, options.withCallCredentials(bearer));
            }
        });
    }

    private static ChannelCredentials credentials(Credentials wanted, ScheduledExecutorService rereading) {
        if (!wanted.usesTls()) {
            return InsecureChannelCredentials.create();
        }
        TlsFiles files = new TlsFiles(wanted);
        TlsChannelCredentials.Builder tls = TlsChannelCredentials.newBuilder();
        if (wanted.ca() != null) {
            tls.trustManager(files.trustManager(rereading));
        }
        KeyManager own = files.keyManager(rereading);
        return (own == null ? tls : tls.keyManager(own)).build();
    }

    private static final class Bearer extends CallCredentials {
        private final Key key;

        Bearer(Key key) {
            this.key = key;
        }

        @Override
        public void applyRequestMetadata(RequestInfo request, Executor executor, MetadataApplier applier) {
            Metadata headers = new Metadata();
            headers.put(AUTHORIZATION, key.bearer());
            applier.apply(headers);
        }
    }
}
