package io.rendezvous.internal;

import io.rendezvous.Model;
import io.rendezvous.v1.ModelInfo;
import io.rendezvous.v1.Package;
import io.rendezvous.v1.SourceControl;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** What a process can find out about its model by itself: repository, commit, packages, runtime. */
public final class Origin {
    /** Version of this SDK. */
    public static final String VERSION = "0.1.0";

    private static final Logger LOG = LoggerFactory.getLogger(Origin.class);
    private static final long GIT_TIMEOUT_S = 5;
    private static final Pattern JAR = Pattern.compile("(?<name>.+?)-(?<version>[0-9][A-Za-z0-9.+_-]*)\\.jar");
    private static final Pattern USER_INFO = Pattern.compile("^([a-zA-Z][a-zA-Z0-9+.-]*://)[^/@]*@");
    private static final Pattern SCP_ADDRESS = Pattern.compile("^[^@/]+@([^:/]+:.+)$");
    private static final Pattern QUERY = Pattern.compile("[?#].*$");

    private Origin() {}

    /**
     * Returns the author's description with everything that the author need not say.
     *
     * @param model the author's model; its class's place tells the repository
     * @param declared what the author declared; kept
     * @param name the model's name
     * @param version the model's version
     */
    public static ModelInfo complete(Model model, ModelInfo declared, String name, String version) {
        ModelInfo.Builder full = ModelInfo.newBuilder()
                .setLanguage("java")
                .setRuntime(System.getProperty("java.vm.name") + " " + System.getProperty("java.version"))
                .setSdk("rendezvous-sdk-java " + VERSION);
        if (declared.getPackagesCount() == 0) {
            full.addAllPackages(packages(System.getProperty("java.class.path", "")));
        }
        if (!declared.hasSourceControl()) {
            SourceControl found = sourceControl(folderOf(model.getClass()));
            if (found != null) {
                full.setSourceControl(found);
            }
        }
        return full.mergeFrom(declared).setName(name).setVersion(version).build();
    }

    /** Returns name and version of each jar of a class path. */
    static List<Package> packages(String classPath) {
        return Arrays.stream(classPath.split(Pattern.quote(System.getProperty("path.separator"))))
                .map(entry -> JAR.matcher(
                        Path.of(entry).getFileName() == null
                                ? ""
                                : Path.of(entry).getFileName().toString()))
                .filter(Matcher::matches)
                .map(jar -> Package.newBuilder()
                        .setName(jar.group("name"))
                        .setVersion(jar.group("version"))
                        .build())
                .distinct()
                .sorted(Comparator.comparing(Package::getName))
                .toList();
    }

    /** Returns the address of a repository without user, password, token and query. */
    static String stripCredentials(String address) {
        String bare = QUERY.matcher(address.strip()).replaceAll("");
        if (bare.contains("://")) {
            return USER_INFO.matcher(bare).replaceFirst("$1");
        }
        return SCP_ADDRESS.matcher(bare).replaceFirst("$1");
    }

    /** Returns repository, commit and state of the working tree that holds a folder; null outside of git. */
    static SourceControl sourceControl(Path folder) {
        if (folder == null) {
            return null;
        }
        String commit = git(folder, "rev-parse", "HEAD");
        if (commit.isEmpty()) {
            return null;
        }
        return SourceControl.newBuilder()
                .setRepository(stripCredentials(git(folder, "remote", "get-url", "origin")))
                .setCommit(commit)
                .setDirty(!git(folder, "status", "--porcelain", "--untracked-files=no")
                        .isEmpty())
                .build();
    }

    private static Path folderOf(Class<?> type) {
        try {
            Path place = Path.of(
                    type.getProtectionDomain().getCodeSource().getLocation().toURI());
            return Files.isDirectory(place) ? place : place.getParent();
        } catch (Exception error) {
            LOG.debug("the place of {} is not known: {}", type, error.toString());
            return null;
        }
    }

    private static String git(Path folder, String... arguments) {
        List<String> command = new ArrayList<>(List.of("git", "-C", folder.toString()));
        command.addAll(List.of(arguments));
        try {
            Process process = new ProcessBuilder(command)
                    .redirectError(ProcessBuilder.Redirect.DISCARD)
                    .redirectInput(
                            ProcessBuilder.Redirect.from(Path.of("/dev/null").toFile()))
                    .start();
            String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8).strip();
            boolean ended = process.waitFor(GIT_TIMEOUT_S, TimeUnit.SECONDS);
            return ended && process.exitValue() == 0 ? output : "";
        } catch (IOException error) {
            LOG.debug("git: {}", error.toString());
            return "";
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
            return "";
        }
    }
}
